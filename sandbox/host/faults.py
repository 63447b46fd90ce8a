"""The one failure this host reports to a person; it decides no retry and no status code."""

from sandbox.errors import SandboxError


class HostError(SandboxError):
    """The host cannot run this app: the message says what was seen and what to do."""
