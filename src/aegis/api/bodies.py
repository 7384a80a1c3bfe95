"""Bodies of requests: read whole, within a size, a time and a depth, before anything parses them.

h11 sees to it that a body is as long as it says, and that chunks are chunks. It bounds neither how
long a body is, nor how slowly it comes, nor what is in it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from aegis.api.errors import problem
from aegis.errors import InvalidInput, LimitExceeded, Unavailable

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope

__all__ = ["BATCH_BYTES", "BODY_BYTES", "DEPTH", "Bodies", "is_too_deep", "refuse_kind", "replay"]

BODY_BYTES: Final = 4 * 2**20
#: For the routes that take many at once.
BATCH_BYTES: Final = 64 * 2**20
#: Lists and objects within one another. Nothing of ours needs twenty.
DEPTH: Final = 64
#: What all bodies under way may take at once.
_ALL_BYTES: Final = 512 * 2**20
#: A body that comes faster than this may take longer than the time that is set.
_BYTES_PER_S: Final = 32 * 1024

_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
#: What browsers send from a form of any page, and nothing here reads.
_FORMS: Final = (
    "multipart/",
    "application/x-www-form-urlencoded",
    "text/plain",
)


class Bodies:
    """Reads the bodies of one server."""

    def __init__(self, timeout_s: float, *, all_bytes: int = _ALL_BYTES) -> None:
        self._timeout_s = timeout_s
        self._all_bytes = all_bytes
        self._held = 0

    async def read(self, receive: Receive, limit: int) -> bytes | Response | None:
        """Return a body, the answer to one that is refused, or None where the client is gone.

        `release` has to be told the length of what was read.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_s
        body = bytearray()
        try:
            async with asyncio.timeout_at(until) as deadline:
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return self._drop(body, None)
                    part: bytes = message.get("body", b"")
                    body += part
                    self._held += len(part)
                    if len(body) > limit:
                        return self._drop(body, too_large(limit))
                    if self._held > self._all_bytes:
                        return self._drop(body, _too_much())
                    if not message.get("more_body", False):
                        return bytes(body)
                    deadline.reschedule(until + len(body) / _BYTES_PER_S)
        except TimeoutError:
            return self._drop(body, _too_slow(self._timeout_s))
        except BaseException:
            self.release(len(body))
            raise

    def release(self, length: int) -> None:
        """Give back the room of a body that was read."""
        self._held -= length

    def _drop(self, body: bytearray, answer: Response | None) -> Response | None:
        self.release(len(body))
        return answer


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body`, and then whatever comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying() -> Message:
        return first.pop() if first else await receive()

    return replaying


def refuse_kind(scope: Scope) -> Response | None:
    """Return the answer to a body of a kind that nothing here reads."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.decode("latin-1").strip().lower()
            if kind.startswith(_FORMS):
                return problem(
                    415,
                    "media_type",
                    "Send JSON, with `Content-Type: application/json`; forms are not read here.",
                    kind=InvalidInput.code,
                )
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return problem(
                415,
                "media_type",
                "Send the body as it is, without Content-Encoding.",
                kind=InvalidInput.code,
            )
    return None


def is_too_deep(body: bytes, most: int = DEPTH) -> bool:
    """Tell whether JSON nests lists and objects deeper than `most`; other text is never too deep.

    Nothing recurses, and nothing but brackets is looked at one by one: each round takes the
    innermost pairs away.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    text = _ESCAPED.sub(b"", body) if b"\\" in body else body
    left = b"".join(text.split(b'"')[::2]).translate(_BRACKETS, _OTHERS)
    for _ in range(most):
        fewer = left.replace(b"[]", b"")
        if len(fewer) == len(left):
            break
        left = fewer
    # What no bracket closes is no JSON, and would be parsed as deep as it goes all the same.
    return left.count(b"[") > (0 if b"[]" in left else most)


def too_large(limit: int) -> Response:
    """Return the answer to a body that is larger than `limit` bytes."""
    size = f"{limit // 2**20} MiB" if limit >= 2**20 else f"{limit // 1024} KiB"
    return problem(
        413,
        "body_too_large",
        f"The body is larger than {size}; send less at a time.",
        kind=LimitExceeded.code,
    )


def _too_slow(seconds: float) -> Response:
    return problem(
        408,
        "body_timeout",
        f"The body did not come within {seconds:g} s; send it again, faster or in parts.",
        kind=LimitExceeded.code,
    )


def _too_much() -> Response:
    return problem(
        503,
        "overloaded",
        "The server holds as much as it can; try again in a moment.",
        kind=Unavailable.code,
        headers={"Retry-After": "1"},
    )
