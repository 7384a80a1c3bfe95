"""Every error that Aegis raises on purpose.

One base, few kinds. A message is one line: what was wrong, which value, what to do. `code` is
stable and part of the public contract (docs/reference/errors.md); each face maps the kind, never
the text, to its own vocabulary: HTTP status, exit status, MCP error.
"""

from __future__ import annotations

__all__ = [
    "AegisError",
    "ConfigError",
    "Conflict",
    "InvalidInput",
    "LimitExceeded",
    "NotFound",
    "OpsError",
    "PermissionDenied",
    "Unauthenticated",
    "Unavailable",
]


class AegisError(Exception):
    """Base of all errors of Aegis; `str(error)` is the line to show a person."""

    #: Default code of the kind; an instance may carry a narrower one.
    code: str = "error"
    #: What anybody may be told instead, where the message names what is inside, such as a table.
    public: str | None = None

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    @property
    def told(self) -> str:
        """The line for whoever asked over a face of ours."""
        return self.public or self.message


class InvalidInput(AegisError):
    """A value that the caller gave cannot be accepted; nothing was changed."""

    code = "invalid_input"


class Unauthenticated(AegisError):
    """No credential, or one that is not known."""

    code = "unauthenticated"


class PermissionDenied(AegisError):
    """The credential is known but may not do this."""

    code = "permission_denied"


class NotFound(AegisError):
    """What was named does not exist."""

    code = "not_found"


class Conflict(AegisError):
    """The state that exists forbids the change, such as a second outcome for one decision."""

    code = "conflict"


class LimitExceeded(AegisError):
    """A rate, a quota or a size is used up."""

    code = "limit_exceeded"


class Unavailable(AegisError):
    """Something that Aegis depends on does not answer now; trying again later may succeed."""

    code = "unavailable"


class ConfigError(AegisError):
    """A setting is wrong or missing; the operator has to change it."""

    code = "config_error"


class OpsError(AegisError):
    """An operation on the database itself (start, migration, adoption) could not be done."""

    code = "ops_error"
