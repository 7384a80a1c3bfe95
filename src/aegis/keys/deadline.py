"""How long a verification waits for the database."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self

from aegis.errors import Unavailable

__all__ = ["Deadline"]


#: The share of a deadline that may be over before it is worth a timer to begin anew.
_OVER: Final = 0.1


class Deadline:
    """Seconds until the database counts as down; each `renew` gives nearly all of them again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    def renew(self) -> None:
        """Begin again."""
        due = asyncio.get_running_loop().time() + self._seconds
        if due - (self._timeout.when() or 0.0) > _OVER * self._seconds:
            self._timeout.reschedule(due)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise Unavailable(
                f"The database did not verify a key within {self._seconds:g} s; try again. "
                "AEGIS_KEYS_TIMEOUT_S allows longer.",
                code="keys_timeout",
            ) from None
