"""Exit statuses, one per kind of error. docs/reference/cli.md is made from this table."""

from __future__ import annotations

from typing import Final

from aegis.errors import (
    AegisError,
    ConfigError,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    OpsError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

__all__ = ["BROKEN_PIPE", "INTERRUPTED", "STATUS", "UNEXPECTED", "USAGE", "status_of"]

UNEXPECTED: Final = 1
#: A wrong option or argument, and a value that cannot be accepted.
USAGE: Final = 2
#: As a shell reports a program that Ctrl-C ended.
INTERRUPTED: Final = 130
#: As a shell reports a program whose reader went away.
BROKEN_PIPE: Final = 141

STATUS: Final[dict[type[AegisError], int]] = {
    InvalidInput: USAGE,
    NotFound: 3,
    Conflict: 4,
    Unauthenticated: 5,
    PermissionDenied: 5,
    LimitExceeded: 6,
    Unavailable: 7,
    ConfigError: 8,
    OpsError: 9,
    AegisError: UNEXPECTED,
}


def status_of(error: AegisError) -> int:
    """Return the exit status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
