"""Texts of strangers made safe to store and to show; questions in their normal form. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = [
    "MAX_REPORT",
    "char_index",
    "clean",
    "find_urls",
    "numbers_of",
    "one_line",
    "query_key",
    "quiet_markdown",
    "url_key",
    "web_url",
]

#: Characters of a report that are kept.
MAX_REPORT = 1_000_000
MAX_URL = 2_000
_CONTROL = re.compile(
    # Also what turns the direction of text around, and lone surrogates.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_WORD = re.compile(r"[\w+#]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_URL = re.compile(r"https?://[^\s<>\"'`\]\[{}|\\^]+", re.IGNORECASE)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE = re.compile(r"!(?=\[)")
_SCHEME = re.compile(
    r"(\]\(\s*<?\s*|\]:\s*<?\s*)(?!https?://|#|/|mailto:)(?=[A-Za-z][A-Za-z0-9+.\-]*:)",
    re.IGNORECASE,
)


def clean(value: Any, *, most: int) -> str | None:
    """Return a text without control characters, cut at `most`; None for what is no text."""
    if not isinstance(value, str):
        return None
    text = _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
    return text[:most]


def one_line(value: Any, *, most: int = 300) -> str | None:
    """Return a text on one line; None for none."""
    text = clean(value, most=most * 4)
    line = " ".join((text or "").split())
    if not line:
        return None
    return line if len(line) <= most else line[: most - 1] + "…"


def web_url(value: Any) -> str | None:
    """Return an address of the web, None for anything else."""
    if not isinstance(value, str) or len(value) > MAX_URL:
        return None
    text = value.strip()
    if _CONTROL.search(text) or any(c.isspace() or c in '<>"`' for c in text):
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    return text if parts.scheme.lower() in ("http", "https") and host else None


def url_key(url: str) -> str:
    """Return what two spellings of one address have in common."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removeprefix("www."), parts.port
    except ValueError:
        return url
    usual = {"http": 80, "https": 443}.get(parts.scheme.lower())
    place = host if port in (None, usual) else f"{host}:{port}"
    query = urlencode(
        [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k[:4] != "utm_"]
    )
    return urlunsplit(("", place, parts.path.rstrip("/"), query, ""))


def find_urls(text: str) -> list[tuple[str, int, int]]:
    """Return the addresses that stand in a text, with where they begin and end."""
    found: list[tuple[str, int, int]] = []
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?*_~")
        # A bracket belongs to the address where it was opened in it.
        while url.endswith(")") and url.count(")") > url.count("("):
            url = url[:-1].rstrip(".,;:!?*_~")
        if web_url(url):
            found.append((url, match.start(), match.start() + len(url)))
    return found


def char_index(encoded: bytes, index: Any) -> int | None:
    """Return the character at which a byte of UTF-8 lies; None where there is no such byte.

    A byte inside a character counts as its beginning.
    """
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= len(encoded):
        return None
    while 0 < index < len(encoded) and encoded[index] & 0xC0 == 0x80:
        index -= 1
    return len(encoded[:index].decode("utf-8", errors="replace"))


def query_key(query: str) -> str:
    """Return the SHA-256 of a question's words, whatever their case, marks and spaces."""
    folded = unicodedata.normalize("NFKC", query).casefold()
    return hashlib.sha256(" ".join(_WORD.findall(folded)).encode()).hexdigest()


def numbers_of(query: str) -> list[str]:
    """Return the numbers in a question: two that differ in them are two questions."""
    return sorted(_NUMBER.findall(unicodedata.normalize("NFKC", query)))


def quiet_markdown(text: str) -> str:
    """Return Markdown that neither runs nor loads anything where it is shown.

    HTML becomes text, pictures become links, and links go to the web alone.
    """
    # Targets first: they may stand in angle brackets.
    text = _SCHEME.sub(r"\1unsafe:", text)
    return _IMAGE.sub("", _TAG.sub("&lt;", text))
