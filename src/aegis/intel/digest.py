"""What changed in a time, as Markdown for people: by competitor, the most important first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aegis.intel.models import CHANGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.intel.models import Change, Page

__all__ = ["render"]

_ORDER = ("critical", "high", "medium", "low")
_NAMES = {
    "price": "prices",
    "content": "texts",
    "new_page": "new pages",
    "removed_page": "removed pages",
    "title": "titles",
    "structure": "structures",
    "visual": "looks",
}
_MOST_LISTED = 20


def render(
    changes: Sequence[Change], failing: Sequence[Page], *, since: datetime, until: datetime
) -> str:
    """Return the digest of changes between two times, and of the pages that cannot be checked."""
    lines = [
        f"# Competitors, {since:%d %B %Y} to {until:%d %B %Y}",
        "",
        _counted(changes),
    ]
    by_name: dict[str, list[Change]] = {}
    for change in changes:
        by_name.setdefault(change.competitor or "Pages of no competitor", []).append(change)

    def rank(item: tuple[str, list[Change]]) -> tuple[int, str]:
        return min(_ORDER.index(change.importance) for change in item[1]), item[0].lower()

    for name, found in sorted(by_name.items(), key=rank):
        lines += ["", f"## {_text(name)}", ""]
        ranked = sorted(found, key=lambda c: (_ORDER.index(c.importance), -c.id))
        lines += [_item(change) for change in ranked[:_MOST_LISTED]]
        if len(found) > _MOST_LISTED:
            lines.append(f"- … and {len(found) - _MOST_LISTED} more.")
    if failing:
        lines += ["", "## Could not be checked", ""]
        lines += [
            f"- {_link(page.page_type or 'page', page.url)} ({_text(page.competitor or '-')}): "
            f"{_text(page.last_error or '')} {page.failures} failures in a row."
            for page in failing[:_MOST_LISTED]
        ]
        if len(failing) > _MOST_LISTED:
            lines.append(f"- … and {len(failing) - _MOST_LISTED} more.")
    return "\n".join(lines) + "\n"


def _counted(changes: Sequence[Change]) -> str:
    if not changes:
        return "Nothing changed."
    counts = {kind: sum(c.change_type == kind for c in changes) for kind in CHANGE_TYPES}
    parts = [f"{_NAMES[kind]} {count}" for kind, count in counts.items() if count]
    what = "1 change" if len(changes) == 1 else f"{len(changes)} changes"
    return f"{what}: {', '.join(parts)}."


def _item(change: Change) -> str:
    mark = f"**{change.importance}** " if change.importance in ("critical", "high") else ""
    day = "" if change.detected_at is None else f"{change.detected_at:%d %b}, "
    kind = (change.change_type or "change").replace("_", " ")
    link = _link(change.page_type or "page", change.url or "")
    return f"- {mark}{kind} of {link} ({day}#{change.id}): {_text(change.summary or '')}"


def _link(text: str, url: str) -> str:
    # A page may be called anything; an address that ends the link is not one.
    safe = re.sub(r"[\s<>()\\]", lambda m: f"%{ord(m.group()):02X}", url)
    return f"[{_text(text)}](<{safe}>)"


def _text(text: str) -> str:
    """Return a stranger's words so that Markdown shows them and does nothing else."""
    flat = " ".join(text.split())[:600]
    return re.sub(r"([\\`*_\[\]<>|#!])", r"\\\1", flat)
