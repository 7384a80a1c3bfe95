"""What stands before an application: the key out of a request, verified, or the refusal.

`asgi` and `fastapi` put it in their frameworks' words; neither is needed here. A client that is not
open yet is opened by the first request, in its own event loop, and a failure to open is tried again
by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from aegis.errors import AegisError, InvalidInput, Unavailable
from aegis.keys.headers import Refusal, limit_headers, refuse, refuse_error, refuse_nameless
from aegis.keys.models import Verification
from aegis.keys.service import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.config import Settings
    from aegis.keys.models import Limit

__all__ = ["Gate", "Opening", "key_of"]

_KEY_HEADER: Final = b"x-api-key"

_log = logging.getLogger("aegis.keys")


class Opening(Protocol):
    """What `aegis.connect()` returns."""

    settings: Settings

    async def __aenter__(self) -> Any:
        """Open a client."""
        ...

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> Any:
        """Close it."""
        ...


class Gate:
    """Verifies the keys of requests with `keys`, or with a client opened when first needed."""

    def __init__(self, keys: Keys | Opening) -> None:
        self._keys = keys if isinstance(keys, Keys) else None
        self._opening = None if isinstance(keys, Keys) else keys
        self._lock = asyncio.Lock()

    async def check(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        scope: str | None = None,
        cost: int = 1,
        limits: Sequence[Limit | Mapping[str, Any]] = (),
    ) -> Verification | Refusal:
        """Return the verification of a request that may pass, or the answer to one that may not."""
        key = key_of(headers)
        if key is None:
            return refuse_nameless()
        try:
            keys = self._keys or await self._open()
            found = await keys.verify(key, scope=scope, cost=cost, limits=limits)
        except InvalidInput:
            # What is asked of a key is the application's to say, and wrong there.
            raise
        except Unavailable as error:
            if self._keys is None and self._is_open_when_down():
                return Verification(valid=True, code="VALID", checked=False)
            return self._failed(error, temporary=True)
        except AegisError as error:
            return self._failed(error, temporary=False)
        return found if found.valid else refuse(found, scope=scope, now_s=time.time())

    @staticmethod
    def headers(found: Verification) -> list[tuple[str, str]]:
        """Return what is said about limits beside the answer of a call that passed."""
        return limit_headers(found, now_s=time.time())

    async def close(self) -> None:
        """Close the client, if one was opened here."""
        if self._opening is not None and self._keys is not None:
            self._keys = None
            await self._opening.__aexit__(None, None, None)

    async def _open(self) -> Keys:
        async with self._lock:
            if self._keys is None:
                assert self._opening is not None
                client = await self._opening.__aenter__()
                self._keys = client.keys
            assert self._keys is not None
            return self._keys

    def _is_open_when_down(self) -> bool:
        return self._opening is not None and self._opening.settings.keys_when_down == "open"

    def _failed(self, error: AegisError, *, temporary: bool) -> Refusal:
        _log.error("keys.unverified", extra={"code": error.code, "why": error.message})
        return refuse_error(error, temporary=temporary)


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key that a request carries: `Authorization: Bearer …`, or `X-API-Key`."""
    other: str | None = None
    for name, value in headers:
        lower = name.lower()
        if lower == b"authorization":
            scheme, _, given = value.partition(b" ")
            if scheme.lower() == b"bearer" and given.strip():
                return given.strip().decode("latin-1")
        elif lower == _KEY_HEADER and value.strip():
            other = value.strip().decode("latin-1")
    return other
