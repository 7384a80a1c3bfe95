"""How a command shows one page of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aegis.cli.running import with_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.client import Aegis
    from aegis.wire.cursor import Paging

__all__ = ["show_page"]

Place = TypeVar("Place")


def show_page(
    paging: Paging[Place],
    read: Callable[[Aegis, Place], Awaitable[Sequence[Any]]],
    show: Callable[[dict[str, Any]], object],
    limit: int | None,
    cursor: str | None,
    as_json: bool,
    *,
    namespace: str | None = None,
) -> None:
    """Show what `read` returns from the place of `cursor` on, and how to see what follows."""
    from aegis.cli.render import note, show_json
    from aegis.wire.plain import plain

    place = paging.at(cursor)
    rows = with_client(lambda client: read(client, place), namespace=namespace)
    page = plain(paging.page(rows, limit, cursor))
    if as_json:
        show_json(page)
        return
    show(page)
    if page["next_cursor"] is not None:
        note(f"More: --cursor {page['next_cursor']}")
