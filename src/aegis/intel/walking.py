"""A document as lines: a walk over its elements, with the headings that each line stands under."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from selectolax.lexbor import LexborNode

__all__ = ["Block", "Walk", "squeeze", "walk"]

_SKIPPED = frozenset(
    {"script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "head",
     "option", "datalist", "dialog", "-comment"}
)  # fmt: skip
#: Around what the page says; its links are in the outline.
_FRAME = frozenset({"nav", "footer"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "button", "dd", "details", "div",
     "dl", "dt", "fieldset", "figcaption", "figure", "form", "h1", "h2", "h3", "h4", "h5", "h6",
     "header", "hr", "label", "li", "main", "ol", "p", "pre", "section", "select", "summary",
     "table", "tbody", "tfoot", "thead", "tr", "ul", "caption", "footer", "nav"}
)  # fmt: skip
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_LANDMARKS = frozenset(
    {"header", "nav", "main", "section", "article", "aside", "footer", "form", "table", "video",
     "details", *_HEADINGS}
)  # fmt: skip
#: Consent banners, as the usual tools and most people name them.
_CONSENT = re.compile(
    r"(^|[\s_-])(cookie|cookies|consent|gdpr|ccpa|onetrust|ot-sdk|cybotcookiebot\w*|usercentrics|"
    r"didomi|truste|quantcast|qc-cmp\w*|osano|iubenda|klaro|cc-window|cmp)([\s_-]|$)"
    r"|cookie-?(banner|notice|consent|bar|popup|law|message)|consent-?(banner|modal|manager)",
    re.IGNORECASE,
)
_PLAN_NAME = re.compile(
    r"(plan|tier|package|product|pricing)[\w-]*?(name|title|heading)", re.IGNORECASE
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_ZERO = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_MOST_NODES = 200_000
_MOST_LINE = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A line of a page, and the heading that it stands under."""

    text: str
    heading: str
    #: Cells of a row of a table, with the row of names above it.
    cells: tuple[str, ...] = ()
    header: tuple[str, ...] = ()


@dataclass(slots=True)
class Walk:
    """What a walk over a document found."""

    blocks: list[Block] = field(default_factory=list[Block])
    outline: dict[str, None] = field(default_factory=dict[str, None])
    #: What nobody sees, and banners.
    unseen: list[LexborNode] = field(default_factory=list["LexborNode"])


@dataclass(slots=True)
class _State:
    found: Walk
    buffer: list[str] = field(default_factory=list[str])
    heading: str = ""
    naming: int = 0
    framed: int = 0
    path: list[str] = field(default_factory=list[str])
    #: Cells of the rows that are open, tables in tables included.
    rows: list[list[str]] = field(default_factory=list[list[str]])
    headers: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    ths: int = 0

    def flush(self) -> None:
        if not self.buffer:
            return
        text = squeeze("".join(self.buffer))
        self.buffer.clear()
        if not text or self.framed:
            return
        if self.rows:
            # One cell may hold several blocks; the row is the line.
            self.rows[-1][-1:] = (
                [f"{self.rows[-1][-1]} {text}".strip()] if self.rows[-1] else [text]
            )
            return
        if self.naming:
            self.heading = text[:200]
        self.found.blocks.append(Block(text=text, heading=self.heading))


def squeeze(text: str) -> str:
    """Return text in one form: composed, one blank between words, nothing invisible."""
    if text.isascii():
        return " ".join(text.split())[:_MOST_LINE]
    return " ".join(unicodedata.normalize("NFC", _ZERO.sub("", text)).split())[:_MOST_LINE]


def walk(root: LexborNode) -> Walk:
    """Return the lines and the outline of what is below `root`, in the order of the page."""
    state = _State(Walk())
    # (node, of one that is left again its tag and whether it names what follows): hostile documents
    # are nested deeper than Python may call.
    stack: list[tuple[LexborNode, str | None, bool]] = [(root, None, False)]
    steps = 0
    while stack and steps < _MOST_NODES:
        steps += 1
        node, left, naming = stack.pop()
        if left is not None:
            _leave(state, left, naming)
            continue
        tag = node.tag or ""
        if tag == "-text":
            state.buffer.append(node.text_content or "")
            continue
        if tag in _SKIPPED or tag.startswith(("-", "!")):
            state.found.unseen.append(node)
            continue
        # They are made anew each time that they are asked for.
        attributes = node.attributes
        if attributes and _unseen(tag, attributes):
            state.found.unseen.append(node)
            continue
        naming = tag in _HEADINGS or _named(attributes)
        _enter(state, tag, attributes, naming)
        stack.append((node, tag, naming))
        child = node.last_child
        while child is not None:
            stack.append((child, None, False))
            child = child.prev
    state.flush()
    return state.found


def _named(attributes: Mapping[str, str | None]) -> bool:
    return bool(attributes) and bool(_PLAN_NAME.search(attributes.get("class") or ""))


def _unseen(tag: str, attributes: Mapping[str, str | None]) -> bool:
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    if _HIDDEN.search(attributes.get("style") or ""):
        return True
    named = f"{attributes.get('id') or ''} {attributes.get('class') or ''}"
    return tag not in ("html", "body", "main") and bool(_CONSENT.search(named))


def _enter(state: _State, tag: str, attributes: Mapping[str, str | None], naming: bool) -> None:
    if tag in _BLOCKS:
        state.flush()
    if tag in _LANDMARKS:
        state.path.append(tag)
        state.found.outline[" > ".join(state.path[-6:])] = None
    if tag in _FRAME:
        state.framed += 1
    if naming:
        state.flush()
        state.naming += 1
    if tag == "table":
        state.headers.append(())
    elif tag == "tr":
        state.rows.append([])
        state.ths = 0
    elif tag in ("td", "th") and state.rows:
        state.flush()
        state.rows[-1].append("")
        state.ths += tag == "th"
    elif tag == "a" and state.framed and "nav" in state.path:
        state.buffer.clear()
    elif tag == "input" and "form" in state.path:
        state.found.outline[f"form asks for {attributes.get('type') or 'text'}"] = None


def _leave(state: _State, tag: str, naming: bool) -> None:
    if tag == "a" and state.framed and "nav" in state.path:
        text = squeeze("".join(state.buffer))[:80]
        if text:
            state.found.outline[f"nav: {text}"] = None
        state.buffer.clear()
    if tag in _BLOCKS or tag in ("td", "th"):
        state.flush()
    if naming:
        state.flush()
        state.naming = max(0, state.naming - 1)
    if tag in _FRAME:
        state.buffer.clear()
        state.framed = max(0, state.framed - 1)
    if tag in _LANDMARKS and state.path:
        state.path.pop()
    if tag == "table" and state.headers:
        state.headers.pop()
    elif tag == "tr" and state.rows:
        _leave_row(state)


def _leave_row(state: _State) -> None:
    cells = tuple(state.rows.pop())
    text = squeeze(" | ".join(cells))
    if not text.strip("| "):
        return
    if state.rows:
        state.buffer.append(f" {text} ")
        return
    # A row of names, all but perhaps the first.
    if state.headers and not state.headers[-1] and state.ths >= max(1, len(cells) - 1):
        state.headers[-1] = cells
    header = state.headers[-1] if state.headers else ()
    state.found.blocks.append(
        Block(
            text=text,
            heading=state.heading,
            cells=cells,
            header=() if header == cells else header,
        )
    )
