"""How fast one address may ask, before anything is known about it: in this process's memory.

GCRA (generic cell rate algorithm): of each address one number is kept, the time at which it will
have used nothing again. Memory is bounded: of the addresses seen least lately the process knows
nothing more, and they begin afresh. Several processes count each for itself; what is exact across
them is the limit of keys, in the database.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import OrderedDict
from typing import Final

__all__ = ["Pace", "bucket_of", "is_loopback"]

#: Addresses that are remembered, about 20 MB.
ADDRESSES: Final = 65_536
_IPV6_PREFIX: Final = 64


class Pace:
    """`rate` requests a second, `burst` at once, for each of `most` buckets; rate 0 is no limit."""

    def __init__(self, rate: float, burst: int, *, most: int = ADDRESSES) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._tolerance = self._interval * burst
        self._most = most
        #: Bucket → when it will be empty again, by a clock that never goes back.
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_at)

    def wait(self, bucket: str, now: float) -> float:
        """Return the seconds until one more is admitted, 0.0 for now; nothing is counted."""
        if not self._interval:
            return 0.0
        empty_at = max(self._empty_at.get(bucket, now), now)
        # A billionth of a second for what sums of fractions lose.
        over = empty_at + self._interval - now - self._tolerance
        return over if over > 1e-9 else 0.0

    def count(self, bucket: str, now: float) -> None:
        """Count one, whether or not it was admitted; never more than a full bucket."""
        if not self._interval:
            return
        empty_at = max(self._empty_at.get(bucket, now), now) + self._interval
        self._empty_at[bucket] = min(empty_at, now + self._tolerance)
        self._empty_at.move_to_end(bucket)
        if len(self._empty_at) > self._most:
            self._empty_at.popitem(last=False)

    def take(self, bucket: str, now: float) -> float:
        """Count one if it is admitted and return 0.0; else return the seconds to wait."""
        wait = self.wait(bucket, now)
        if not wait:
            self.count(bucket, now)
        return wait


@functools.lru_cache(maxsize=4_096)
def bucket_of(address: str) -> str:
    """Return what is counted together: an IPv4 address, or the first 64 bits of an IPv6 one.

    Whoever has an IPv6 network at all has 2 ** 64 addresses of it. An IPv4 address that came over
    an IPv6 socket is the IPv4 address.
    """
    found = _parse(address)
    if found is None:
        return "?"
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))


@functools.lru_cache(maxsize=4_096)
def is_loopback(address: str) -> bool:
    """Tell whether `address` is this machine itself."""
    found = _parse(address)
    return found is not None and found.is_loopback


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # `fe80::1%eth0` names an interface, which is no part of the address.
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
