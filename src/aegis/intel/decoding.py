"""Bytes of an answer as text: decompressed within a bound, decoded as the web does it."""

from __future__ import annotations

import codecs
import re
import zlib

from aegis.errors import LimitExceeded, Unavailable

__all__ = ["ACCEPTED", "Inflater", "decode"]

#: What we say we can undo.
ACCEPTED = "gzip, deflate"
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: What servers call Latin-1 is what Windows calls it, in every browser.
_ALIASES = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252",
            "us-ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}


class Inflater:
    """Undoes `Content-Encoding` piece by piece and stops at `most` bytes, however much comes.

    A small answer can hold gigabytes; no more than `most` of them are ever in memory.
    """

    def __init__(self, encoding: str, *, most: int) -> None:
        """Take what the header says.

        Raises:
            Unavailable: an encoding that was not asked for (`intel_encoding`).
        """
        names = [name.strip().lower() for name in encoding.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > 1 or (names and names[0] not in ("gzip", "x-gzip", "deflate")):
            raise Unavailable(
                f"The answer is encoded as {encoding[:40]!r}, which was not asked for.",
                code="intel_encoding",
            )
        self._deflate = names == ["deflate"]
        self._inner = zlib.decompressobj(47 if not self._deflate else 15) if names else None
        self._most = most
        self._size = 0
        self._first = True

    def feed(self, part: bytes) -> bytes:
        """Return what `part` holds (`LimitExceeded`, `Unavailable`)."""
        if self._inner is None:
            return self._counted(part)
        room = self._most - self._size + 1
        try:
            out = self._inner.decompress(part, room)
        except zlib.error:
            if not (self._deflate and self._first):
                raise _damaged() from None
            # Many servers send deflate without its frame.
            self._inner = zlib.decompressobj(-15)
            try:
                out = self._inner.decompress(part, room)
            except zlib.error:
                raise _damaged() from None
        self._first = False
        return self._counted(out)

    def finish(self) -> None:
        """Check that nothing is missing (`Unavailable`)."""
        if self._inner is not None and not self._first and not self._inner.eof:
            raise _damaged()

    def _counted(self, part: bytes) -> bytes:
        self._size += len(part)
        if self._size > self._most:
            raise LimitExceeded(
                f"The answer is larger than {self._most:,} bytes; raise AEGIS_INTEL_MAX_BYTES to "
                "read it.",
                code="intel_too_large",
            )
        return part


def decode(body: bytes, charset: str | None) -> str:
    """Return a document's text: its byte order mark says how, else the header, else itself."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    inside = _META.search(body[:4096])
    for name in (charset, inside.group(1).decode() if inside else None):
        known = _known(name)
        if known is not None:
            return body.decode(known, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode(_guess(body), "replace")


def _known(name: str | None) -> str | None:
    if not name:
        return None
    text = name.strip().strip("\"'").lower()
    try:
        found = codecs.lookup(_ALIASES.get(text, text))
    except (LookupError, ValueError):
        return None
    # `rot13`, `zip` and the like are codecs of Python, no character sets.
    return found.name if getattr(found, "_is_text_encoding", False) else None


def _guess(body: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(body[:65536]).best()
    return "cp1252" if best is None else best.encoding


def _damaged() -> Unavailable:
    return Unavailable("The answer is compressed and damaged.", code="intel_encoding")
