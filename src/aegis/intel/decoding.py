"""Bytes of an answer as text, decoded as the web does it."""

from __future__ import annotations

import codecs
import re

__all__ = ["decode"]

_META = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: What servers call Latin-1 is what Windows calls it, in every browser.
_ALIASES = {
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_MULTIBYTE = ("utf-16", "utf-32")


def decode(body: bytes, charset: str | None) -> str:
    """Return a document's text: its byte order mark says how, else the header, else itself."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    inside = _META.search(body[:4096])
    claimed = inside.group(1).decode() if inside else None
    if claimed is not None and claimed.lower().startswith(_MULTIBYTE):
        # What could be read as ASCII just now is not that.
        claimed = "utf-8"
    for name in (charset, claimed):
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
