"""What `aegis intel` shows of pages, and how it reads their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.intel.models import Page

__all__ = ["page_ids", "show_pages"]


def page_ids(what: str, given: Sequence[str]) -> list[int]:
    """Return the ids that arguments are (`InvalidInput`)."""
    from aegis.errors import InvalidInput

    for one in given:
        if not one.isdecimal() or len(one) > 9:
            raise InvalidInput(f"{what} is {one[:40]!r}; give ids, which are whole numbers.")
    return [int(one) for one in given]


def show_pages(found: Sequence[Page]) -> None:
    """Write a table of pages."""
    from aegis.cli.render import table, when
    from aegis.wire.plain import plain

    items: list[dict[str, Any]] = plain(found)
    table(
        ["id", "competitor", "type", "state", "by", "checked", "changed", "url"],
        [
            [
                str(item["id"]),
                item["competitor"] or "",
                item["page_type"] or "",
                item["state"],
                "browser" if item["browser"] else "http",
                when(item["last_checked_at"]),
                when(item["last_changed_at"]),
                item["url"] + (f"  ({item['last_error']})" if item["last_error"] else ""),
            ]
            for item in items
        ],
        wide="url",
        empty="There is no such page.",
    )
