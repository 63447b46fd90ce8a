"""The version of what Ebb stores and sends, and what to do about one that is not known yet."""

from __future__ import annotations

from shared.errors import OtherVersion

STATE_VERSION = 1
"""Of rows, messages and stubs together. It grows when an Ebb that does not know what is new must
not go on: then that one holds. What is only added, and may be overlooked, leaves it as it is."""

FIELD = "v"
"""The property it is written as. Where it is missing it is 1: what came before had none."""


def check_version(found: object, *, thing: str) -> None:
    """OtherVersion for what a later Ebb wrote; nothing may be written over it."""
    known = found is None or (isinstance(found, int) and found <= STATE_VERSION)
    if not known:
        raise OtherVersion(
            f"reading {thing}: another version is at work: this is of version {found!r}, and this "
            f"Ebb knows {STATE_VERSION} at most; nothing was written — deploy the later Ebb again, "
            "everywhere"
        )
