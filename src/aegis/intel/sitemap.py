"""Sitemaps, as sites publish them: XML or plain text, perhaps packed, perhaps lists of lists."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

__all__ = ["read_sitemap", "unpack"]

_MOST_URLS = 50_000


def unpack(body: bytes, *, most: int) -> bytes:
    """Return a file's bytes, of a gzip file what it holds, no more than `most` of them."""
    if not body.startswith(b"\x1f\x8b"):
        return body[:most]
    try:
        return zlib.decompressobj(31).decompress(body, most)
    except zlib.error:
        return b""


def read_sitemap(body: bytes) -> tuple[list[str], list[str]]:
    """Return the pages that a sitemap lists, and the further sitemaps.

    What is damaged is read as far as it goes; entities are not followed.
    """
    # The library has no types; what it gives is looked at below.
    etree: Any = importlib.import_module("lxml.etree")
    if body.lstrip()[:1] != b"<":
        lines = body.decode("utf-8", "replace").split()[:_MOST_URLS]
        return [line for line in lines if line.startswith(("http://", "https://"))], []
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body.lstrip(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return [], []
    pages: list[str] = []
    further: list[str] = []
    if root is None:
        return pages, further
    for entry in root:
        if not isinstance(entry.tag, str):
            continue
        kind = etree.QName(entry).localname
        for child in entry:
            if isinstance(child.tag, str) and etree.QName(child).localname == "loc" and child.text:
                (further if kind == "sitemap" else pages).append(child.text.strip())
                break
        if len(pages) >= _MOST_URLS:
            break
    return pages, further
