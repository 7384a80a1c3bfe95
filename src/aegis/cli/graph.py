"""`aegis memory graph …`: who and what memories speak of, and how it hangs together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, maybe_time, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.memory.graph import Built

__all__ = ["app"]

app = App("The graph of memory: entities, relations, ways.")

NodeName = Annotated[
    str, Argument(metavar="NODE", help="episode:12, fact:3, entity:5, or person:Alice.")
]
Source = Annotated[
    str, Argument(metavar="SOURCE", help="episode:12, fact:3, entity:5, or person:Alice.")
]
Target = Annotated[str, Argument(metavar="TARGET", help="Likewise.")]
Types = Annotated[list[str] | None, Option("--type", help="A type to follow; may be repeated.")]
AsOf = Annotated[str | None, Option("--as-of", help="What held at this time.")]
Width = Annotated[int, Option(help="Relations to follow from one node.")]


@app.add
def build(
    again: Annotated[bool, Option("--again", help="Read all of the namespace anew.")] = False,
    limit: Annotated[int | None, Option(help="At most so many texts.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Read for entities what is new or changed, of every namespace."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    with counting("Reading") as seen:

        async def work(client: Aegis) -> Built:
            return await client.memory.graph.build(again=again, limit=limit, on_progress=seen)

        done = with_client(work, namespace=namespace)
    if as_json:
        show_json(done)
        return
    line(
        f"Read {done.read:,} texts: {done.added:,} relations added, {done.removed:,} removed, "
        f"{done.related:,} related memories linked."
        if done.read or done.related
        else "Nothing is new."
    )


@app.add
def show(
    node: NodeName,
    depth: Annotated[int, Option(help="Relations away, 1 to 5.")] = 1,
    width: Width = 50,
    limit: Limit = 50,
    types: Types = None,
    direction: Annotated[str, Option(help="out, in or both.")] = "both",
    as_of: AsOf = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show what lies around a memory, a fact or an entity."""
    from aegis.cli.graph_results import show_neighbourhood
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = with_client(
        lambda a: a.memory.graph.neighbours(
            node,
            depth=depth,
            width=width,
            limit=limit,
            types=types or [],
            direction=direction,  # pyright: ignore[reportArgumentType]
            as_of=maybe_time("as-of", as_of),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(found)
    else:
        show_neighbourhood(plain(found))


@app.add
def path(
    source: Source,
    target: Target,
    max_depth: Annotated[int, Option(help="Relations at most, 1 to 10.")] = 6,
    width: Width = 200,
    types: Types = None,
    as_of: AsOf = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Find a shortest way from one node to another."""
    from aegis.cli.graph_results import show_path
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = with_client(
        lambda a: a.memory.graph.path(
            source,
            target,
            max_depth=max_depth,
            width=width,
            types=types or [],
            as_of=maybe_time("as-of", as_of),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(found)
    else:
        show_path(plain(found))


@app.add
def entities(
    of: Annotated[str | None, Option(help="Those of one node, such as episode:12.")] = None,
    kind: Annotated[str | None, Option(help="Such as person, project, file, host.")] = None,
    name: Annotated[str | None, Option(help="A part of the name.")] = None,
    order: Annotated[str, Option(help="degree, mentions, recent or name.")] = "degree",
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List who and what memories speak of, the most connected first."""
    from aegis.cli.graph_results import show_entities
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.memory.graph.entities(
            of=of,
            kind=kind,  # pyright: ignore[reportArgumentType]
            name=name,
            order=order,  # pyright: ignore[reportArgumentType]
            limit=limit,
            offset=offset,
        ),
        show_entities, limit if of is None else None, cursor, as_json, namespace=namespace,
    )  # fmt: skip


@app.add
def relate(
    source: Source,
    target: Target,
    type: Annotated[str, Option(help="Such as works_on, caused, part_of.")] = "related",
    weight: Annotated[float, Option(help="How strong or how sure, 0 to 1.")] = 1.0,
    since: Annotated[str | None, Option("--from", help="Since when; always otherwise.")] = None,
    until: Annotated[str | None, Option("--to", help="Until when; no end otherwise.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Write that one thing has to do with another."""
    from aegis.cli.render import line, show_json

    made = with_client(
        lambda a: a.memory.graph.relate(
            source,
            target,
            type,
            weight=weight,
            valid_from=maybe_time("from", since),
            valid_to=maybe_time("to", until),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(made)
    else:
        line(
            f"Relation {made.id}: {made.source_kind}:{made.source_id} {made.type} "
            f"{made.target_kind}:{made.target_id}."
        )


@app.add
def unrelate(
    source: Source,
    target: Target,
    type: Annotated[str | None, Option(help="Of this type; of all otherwise.")] = None,
    at: Annotated[str | None, Option(help="When it ends; now otherwise.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """End the relations from one node to another; what was stays readable."""
    from aegis.cli.render import line, show_json

    ended = with_client(
        lambda a: a.memory.graph.unrelate(source, target, type, at=maybe_time("at", at)),
        namespace=namespace,
    )
    if as_json:
        show_json({"items": ended})
    else:
        line(f"Ended {', '.join(f'relation {r.id} ({r.type})' for r in ended)}.")


@app.add
def merge(
    kept: Annotated[str, Argument(metavar="KEPT", help="The entity that stands for both.")],
    merged: Annotated[str, Argument(metavar="MERGED", help="The one that becomes its name.")],
    namespace: Namespace = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make two entities one; `unmerge` takes it back."""
    from aegis.cli.render import line, show_json

    confirm(f"All that is said of {merged} will be said of {kept}.", yes=yes)
    done = with_client(lambda a: a.memory.graph.merge_entities(kept, merged), namespace=namespace)
    if as_json:
        show_json(done)
    else:
        line(f"Merge {done.id}: entity {done.kept} stands for entity {done.merged}.")


@app.add
def unmerge(
    merge_id: Annotated[int, Argument(metavar="MERGE")],
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Take a merge back; the last one of an entity first."""
    from aegis.cli.render import line, show_json

    done = with_client(lambda a: a.memory.graph.undo_merge(merge_id), namespace=namespace)
    if as_json:
        show_json(done)
    else:
        line(f"Entities {done.kept} and {done.merged} are two again.")


@app.add
def merges(limit: Limit = 20, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List merges, the last one first."""
    from aegis.cli.graph_results import show_merges
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.graph.merges(limit=limit), namespace=namespace))
    if as_json:
        show_json({"items": found})
    else:
        show_merges(found)


@app.add
def draw(
    node: NodeName,
    format: Annotated[str, Option(help="mermaid or graphml.")] = "mermaid",
    depth: Annotated[int, Option(help="Relations away, 1 to 5.")] = 2,
    width: Width = 20,
    limit: Annotated[int, Option("--limit", "-n", help="Nodes at most.")] = 60,
    types: Types = None,
    as_of: AsOf = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Write what lies around a node as Mermaid or GraphML."""
    from aegis.cli.render import line, show_json

    text = with_client(
        lambda a: a.memory.graph.draw(
            node,
            format=format,  # pyright: ignore[reportArgumentType]
            depth=depth,
            width=width,
            limit=limit,
            types=types or [],
            as_of=maybe_time("as-of", as_of),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json({"format": format, "text": text})
    else:
        line(text.removesuffix("\n"))
