"""Signatures of Stripe's webhooks. Pure: the clock is given.

https://docs.stripe.com/webhooks#verify-manually: the header is `t=…,v1=…[,v1=…]`, and each `v1` an
HMAC-SHA-256 of `t`, a dot and the raw body. The package's own check reads the clock itself, accepts
times to come, and breaks on bytes that are not UTF-8; a test holds both against one another.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from aegis.errors import Unauthenticated

__all__ = ["TOLERANCE_S", "check_signature"]

#: How old an event may be, and how far ahead a clock.
TOLERANCE_S: Final = 300
_TIME: Final = re.compile(r"[0-9]{1,12}")
_MOST_PARTS: Final = 32


def check_signature(body: bytes, header: str | None, *, secret: str, now: float) -> None:
    """Accept a body that Stripe signed a moment ago.

    Raises:
        Unauthenticated: there is no signature, none of them fits, or it is too old.
    """
    time, given = _parts(header)
    signed = b"%d.%s" % (time, body)
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    # All are compared, whichever fits: how long it takes says nothing.
    fits = [hmac.compare_digest(expected, one.encode()) for one in given]
    if not any(fits):
        raise _refused("none of its signatures fits the body")
    if abs(now - time) > TOLERANCE_S:
        raise _refused(f"it is more than {TOLERANCE_S} seconds off this clock")


def _parts(header: str | None) -> tuple[int, list[str]]:
    if not header:
        raise _refused("there is no Stripe-Signature header")
    pairs = [part.strip().partition("=") for part in header.split(",")[:_MOST_PARTS]]
    times = [value for name, _, value in pairs if name == "t"]
    given = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not given:
        raise _refused("the Stripe-Signature header holds no time and signature")
    return int(times[0]), given


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"The webhook is refused: {why}.", code="signature_invalid")
