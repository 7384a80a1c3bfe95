"""How a name is compared. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis.memory.graph.models import EntityKind

__all__ = ["MAX_NAME", "clean_name", "name_key"]

#: With a namespace and a kind beside it, below what a B-tree entry may take (2,704 bytes).
MAX_NAME = 300
_CASE_COUNTS = frozenset({"file", "url"})


def clean_name(name: str) -> str:
    """Return a name on one line without control characters, cut to `MAX_NAME`."""
    flat = "".join(" " if c.isspace() else c for c in name if c.isprintable() or c.isspace())
    return re.sub(" +", " ", flat).strip()[:MAX_NAME].rstrip()


def name_key(kind: EntityKind, name: str) -> str:
    """Return the text that equal names share; empty for a name without any letter or figure."""
    key = clean_name(unicodedata.normalize("NFKC", name))
    if kind == "person":
        key = key.removeprefix("@")
    if kind == "url":
        return _url_key(key)
    if kind not in _CASE_COUNTS:
        # Folding may leave what normalising would change again (ẞ, ligatures).
        key = unicodedata.normalize("NFKC", key.casefold())
    key = clean_name(key)
    return key if any(c.isalnum() for c in key) else ""


def _url_key(url: str) -> str:
    scheme, sep, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{sep}{host.lower()}{slash}{path}".removesuffix("/")
