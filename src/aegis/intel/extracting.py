"""What a document says: title, text, prices, outline; always the same for the same document.

`extractor_of` names the version of all that takes part. A text that another version made is never
compared: the stored document is read anew (`checking`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.intel import prices
from aegis.intel.models import Reading
from aegis.intel.walking import squeeze, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from selectolax.lexbor import LexborHTMLParser, LexborNode

    from aegis.intel.models import Method
    from aegis.intel.prices import Price
    from aegis.intel.walking import Walk

__all__ = ["check_selectors", "content_hash", "extractor_of", "links_of", "read"]

#: Rises with every change of ours to what is extracted.
_OWN_VERSION = 1
#: Where a text of its own is what people come for.
_ARTICLES = frozenset({"docs", "blog"})
#: Below this part of what is to be read, the library leaves out what may be the point of a page.
_LEAST_SHARE = 0.85
_MOST_TEXT = 1_000_000
_MOST_LINES = 20_000


@cache
def _libraries() -> str:
    from importlib.metadata import version

    return f"trafilatura {version('trafilatura')}, selectolax {version('selectolax')}"


def extractor_of(include: Sequence[str], exclude: Sequence[str]) -> str:
    """Return the version of the extraction, the selectors included."""
    chosen = "\n".join((*include, "", *exclude))
    mark = hashlib.sha256(chosen.encode()).hexdigest()[:12] if include or exclude else "all"
    return f"{_OWN_VERSION}/{mark}; {_libraries()}"


def content_hash(reading: Reading) -> str:
    """Return the SHA-256 of what a page says together with the version that read it."""
    parts = (reading.extractor, reading.title, *reading.text, "", *reading.prices)
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()


def check_selectors(selectors: Sequence[str]) -> list[str]:
    """Return CSS selectors that can be used (`InvalidInput`)."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    probe = LexborHTMLParser("<p>probe</p>")
    for selector in selectors:
        try:
            if not selector.strip() or len(selector) > 500:
                raise ValueError
            probe.css(selector)
        except (SelectolaxError, ValueError):
            raise InvalidInput(
                f"{selector[:60]!r} is no CSS selector; write one such as main or .price-table."
            ) from None
    return list(selectors)


def read(
    html: str,
    *,
    page_type: str | None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    method: Method | None = None,
) -> Reading:
    """Return what a document says.

    `method` is the baseline's: a page is read in the same way until it no longer can be.
    """
    from selectolax.lexbor import LexborHTMLParser

    html = html.replace("\x00", "")
    tree = LexborHTMLParser(html)
    title = _title(tree)
    structured = list(_structured(tree))
    tree = _chosen(tree, include, exclude)
    root = tree.body or tree.root
    found = walk(root) if root is not None else None
    blocks = [] if found is None else [block.text for block in found.blocks]
    article: list[str] = []
    if found and method != "blocks" and page_type not in ("pricing", "homepage", "features"):
        for node in [*found.unseen, *tree.css("nav, footer")]:
            node.decompose()
        article = _article(tree.html or "")
    chosen = method or _choose(article, blocks)
    if chosen == "article" and not article:
        chosen = "blocks"
    named = [] if found is None else list(_textual(found, page_type))
    return Reading(
        extractor=extractor_of(include, exclude),
        method=chosen,
        title=title,
        text=_bounded(article if chosen == "article" else blocks),
        prices=prices.lines_of([*structured, *named]),
        outline=() if found is None else tuple(found.outline)[:_MOST_LINES],
    )


def links_of(html: str) -> list[tuple[str, str]]:
    """Return the links of a document, addresses as they stand there, with their texts."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    found: list[tuple[str, str]] = []
    for node in tree.css("a[href]")[:5_000]:
        found.append((node.attributes.get("href") or "", squeeze(node.text())[:200]))
    return found


def _choose(article: list[str], blocks: list[str]) -> Method:
    size = sum(map(len, article))
    if size == 0:
        return "blocks"
    share = size / max(1, sum(map(len, blocks)))
    return "article" if share >= _LEAST_SHARE else "blocks"


def _article(html: str) -> list[str]:
    from trafilatura import extract

    try:
        text = extract(
            html, include_comments=False, include_tables=True, favor_recall=True, fast=True
        )
    except (ValueError, RecursionError, AssertionError, AttributeError, TypeError, KeyError):
        # A library that stumbles over a stranger's document; all that is there is read instead.
        return []
    return [line for line in map(squeeze, (text or "").splitlines()) if line]


def _bounded(lines: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    size = 0
    for line in lines[:_MOST_LINES]:
        size += len(line) + 1
        if size > _MOST_TEXT:
            break
        kept.append(line)
    return tuple(kept)


def _title(tree: LexborHTMLParser) -> str:
    for selector, attribute in (
        ("head title", None),
        ("meta[property='og:title']", "content"),
        ("h1", None),
    ):
        node = tree.css_first(selector)
        if node is not None:
            text = node.text() if attribute is None else node.attributes.get(attribute)
            if squeeze(text or ""):
                return squeeze(text or "")[:500]
    return ""


def _chosen(
    tree: LexborHTMLParser, include: Sequence[str], exclude: Sequence[str]
) -> LexborHTMLParser:
    from selectolax.lexbor import LexborHTMLParser

    if exclude:
        for node in tree.css(", ".join(exclude)):
            node.decompose()
    if include:
        parts: list[str] = []
        for node in tree.css(", ".join(include)):
            if not _inside(node, parts):
                parts.append(node.html or "")
        tree = LexborHTMLParser(f"<html><body>{''.join(parts)}</body></html>")
    return tree


def _inside(node: LexborNode, parts: list[str]) -> bool:
    # One that lies in another that was chosen is there already.
    return bool(parts) and (node.html or "") in parts[-1]


def _structured(tree: LexborHTMLParser) -> Iterator[Price]:
    scripts = tree.css("script[type='application/ld+json']")[:50]
    yield from prices.from_json_ld([node.text() for node in scripts])
    for node in tree.css("[itemprop='price']")[:500]:
        scope = _scope(node)
        currency = _property(scope, "priceCurrency").upper()[:3]
        given = node.attributes.get("content") or node.text()
        amount = prices.read_amount(given[:40], currency or "USD")
        if amount is not None:
            yield prices.Price(
                plan=_name(scope), amount=amount, currency=currency, period=_unit(scope)
            )


def _scope(node: LexborNode) -> Any:
    above: Any = node.parent
    while above is not None and "itemscope" not in above.attributes:
        above = above.parent
    return above


def _property(scope: Any, name: str) -> str:
    node = None if scope is None else scope.css_first(f"[itemprop='{name}']")
    if node is None:
        return ""
    return squeeze(node.attributes.get("content") or node.text())


def _name(scope: Any) -> str:
    while scope is not None:
        name = _property(scope, "name")
        if name:
            return name[:200]
        scope = _scope(scope)
    return ""


def _unit(scope: Any) -> str:
    from aegis.intel.prices import in_text

    unit = _property(scope, "unitText")
    return next((p.period for p in in_text(f"$1 / {unit}", plan="")), "") if unit else ""


def _textual(found: Walk, page_type: str | None) -> Iterator[Price]:
    """Yield prices of the text; prose names amounts that are none."""
    if page_type in _ARTICLES:
        return
    free = page_type == "pricing"
    blocks = found.blocks
    for number, block in enumerate(blocks):
        after = blocks[number + 1].text if number + 1 < len(blocks) else ""
        if not block.cells:
            if len(block.text) <= 200:
                yield from prices.in_text(block.text, plan=block.heading, after=after, free=free)
            continue
        label = "" if prices.MONEY.search(block.cells[0]) else block.cells[0]
        for at, cell in enumerate(block.cells):
            column = block.header[at] if at < len(block.header) else ""
            plan = " / ".join(part for part in (column, label) if part) or block.heading
            yield from prices.in_text(cell[:200], plan=plan, free=free and bool(at))
