"""`aegis memory items list|get`: what frameworks keep in their stores, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace
from aegis.cli.paging import show_page
from aegis.cli.running import json_object, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App("Items of stores, such as LangGraph's.")

_PATH_HELP = "Labels joined with `/`, or a JSON list of them."


@app.add
def list_(
    path: Annotated[str | None, Argument(help=f"{_PATH_HELP} Everything otherwise.")] = None,
    query: Annotated[str | None, Option("--query", "-q", help="Nearest in meaning first.")] = None,
    filter_: Annotated[
        str | None, Option("--filter", metavar="JSON", help="Conditions on values, or @FILE.")
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List items at a path and below it, newest first; looking does not lengthen their lives."""
    from aegis.wire.cursor import BY_OFFSET
    from aegis.wire.plain import plain

    prefix = [] if path is None else _labels(path)
    conditions = json_object("filter", filter_)

    async def found(client: Aegis, offset: int) -> list[dict[str, Any]]:
        hits = await client.memory.items.search(
            prefix,
            query=query,
            filter=conditions,
            limit=limit,
            offset=offset,
            refresh=False,
        )
        return [{**plain(hit.item), "score": plain(hit.score)} for hit in hits]

    show_page(BY_OFFSET, found, _show, limit, cursor, as_json, namespace=namespace)


@app.add
def get(
    path: Annotated[str, Argument(help=_PATH_HELP)],
    key: Annotated[str, Argument(help="Name of the item.")],
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show one item; looking does not lengthen its life."""
    import json

    from aegis.cli.render import line, show_json, when
    from aegis.wire.plain import plain

    labels = _labels(path)
    item = plain(
        with_client(lambda a: a.memory.items.get(labels, key, refresh=False), namespace=namespace)
    )
    if as_json:
        show_json(item)
        return
    end = "" if item["expires_at"] is None else f", expires {when(item['expires_at'])}"
    line(f"{'/'.join(item['path'])}  {item['key']}  (put {when(item['updated_at'])}{end})")
    line(json.dumps(item["value"], ensure_ascii=False, indent=2))


def _labels(path: str) -> list[str]:
    if path.startswith("["):
        return json_object("path", path)
    return path.split("/")


def _show(page: dict[str, Any]) -> None:
    import json

    from aegis.cli.render import clip, table, when

    table(
        ["path", "key", "put", "score", "value"],
        [
            [
                clip("/".join(item["path"]), 40),
                clip(item["key"], 30),
                when(item["updated_at"]),
                "" if item["score"] is None else f"{item['score']:.3f}",
                clip(json.dumps(item["value"], ensure_ascii=False), 400),
            ]
            for item in page["items"]
        ],
        wide="value",
        empty="No item fits.",
    )
