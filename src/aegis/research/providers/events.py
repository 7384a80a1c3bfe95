"""Lines of server-sent events, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["lines"]

_MOST_LINE: Final = 16 * 2**20


async def lines(chunks: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """Yield the lines of a stream without their ends; one that is cut off is not yielded.

    Raises:
        Trouble: a line is too long to be one.
    """
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if b"\n" not in chunk:
            if len(buffer) > _MOST_LINE:
                raise Trouble(f"{name}'s stream is malformed.", uncertain=True)
            continue
        *whole, rest = bytes(buffer).split(b"\n")
        buffer = bytearray(rest)
        for line in whole:
            yield line.rstrip(b"\r")
