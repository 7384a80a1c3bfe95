"""How long to wait before another attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.errors import (
    AegisError,
    ConfigError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)

if TYPE_CHECKING:
    import random

__all__ = ["FIRST_S", "LONGEST_S", "is_final", "retry_delay"]

FIRST_S: Final = 5.0
LONGEST_S: Final = 3_600.0
#: What another attempt would only repeat.
_FINAL = (InvalidInput, NotFound, PermissionDenied, Unauthenticated, ConfigError)


def retry_delay(attempts: int, rng: random.Random) -> float:
    """Return seconds to wait after so many attempts: doubled each time, a quarter more or less."""
    delay = min(FIRST_S * 2.0 ** min(attempts - 1, 30), LONGEST_S)
    return delay * (0.75 + rng.random() / 2)


def is_final(error: BaseException) -> bool:
    """Tell whether an error would be the same the next time."""
    return isinstance(error, AegisError) and isinstance(error, _FINAL)
