"""The one error that the sandbox raises when it cannot do what its operator asked."""


class SandboxError(Exception):
    """Says doing what, to which thing, what was seen and what to do."""
