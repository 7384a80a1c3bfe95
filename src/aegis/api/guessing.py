"""Who guesses: how many wrong keys an address may send, and whose right ones pass all the same.

An address that sent too many is refused before its key is looked at, so that guessing costs the
database nothing. Several people may share one address, and one of them a wrong key: a credential
that was right a moment ago is not taken for a guess.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from aegis.api.pace import Pace, bucket_of, is_loopback

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["Guesses"]

_REMEMBERED: Final = 10_000


class Guesses:
    """Counts what was refused, for each address, in this process's memory."""

    def __init__(self, settings: Settings) -> None:
        per_minute = settings.http_failures_per_minute
        self._pace = Pace(per_minute / 60, max(per_minute, 1))
        self._limits_loopback = settings.http_limit_loopback == "on"
        #: Of credentials that were right, never themselves: who reads memory may try them.
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    def wait(self, address: str, key: str) -> float:
        """Return the seconds for which `key` from this address is not looked at, 0.0 for none."""
        if not self._counts(address):
            return 0.0
        wait = self._pace.wait(bucket_of(address), time.monotonic())
        return 0.0 if wait and self._digest(key) in self._right else wait

    def wrong(self, address: str, key: str) -> None:
        """Count a credential that is not known, or no longer."""
        if self._right:
            self._right.pop(self._digest(key), None)
        if self._counts(address):
            self._pace.count(bucket_of(address), time.monotonic())

    def right(self, address: str, key: str) -> None:
        """Remember a credential that was right."""
        if not self._counts(address):
            return
        digest = self._digest(key)
        self._right[digest] = None
        self._right.move_to_end(digest)
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)

    def _counts(self, address: str) -> bool:
        return self._limits_loopback or not is_loopback(address)

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "replace"), "sha256")
