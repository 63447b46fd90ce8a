"""What ends an activity before it succeeds; it says so in Data Factory's own words."""

from typing import Any

from sandbox.factory.records import FAILED

# The code of a failed Copy; the cause stands in its message.
COPY_FAILED = "2200"


class ActivityFailed(Exception):
    """An activity ended badly."""

    def __init__(
        self, code: str, message: str, *, kind: str = "UserError", status: str = FAILED
    ) -> None:
        """Hold what its record shows."""
        super().__init__(message)
        self.code, self.message, self.kind, self.status = code, message, kind, status

    def facts(self, activity: str) -> dict[str, Any]:
        """Return the error as the API shows it."""
        return {
            "errorCode": self.code,
            "message": self.message,
            "failureType": self.kind,
            "target": activity,
            "details": [],
        }


def copy_failed(code: str, message: str) -> ActivityFailed:
    """Return the failure of a Copy, worded as its connectors do."""
    text = (
        f"ErrorCode={code},'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,"
        f"Message={message},Source=Microsoft.DataTransfer.ClientLibrary,'"
    )
    return ActivityFailed(COPY_FAILED, text)
