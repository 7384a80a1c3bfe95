"""`aegis memory facts …`."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace, Tags, Yes
from aegis.cli.running import confirm, json_object, named, read_text, with_client

__all__ = ["app"]

app = App("What the agent knows.")

FactId = Annotated[int, Argument(metavar="ID")]
Category = Annotated[str | None, Option(help="Such as preference or architecture.")]
Source = Annotated[str | None, Option(help="Where it is known from.")]
Json = Annotated[str | None, Option(metavar="JSON", help="A JSON object, or @FILE.")]


@app.add
def record(
    concept: Annotated[str, Argument(help="What it is about.")],
    content: Annotated[str, Argument(help="What is known; `-` reads standard input.")],
    category: Category = None,
    source: Source = None,
    confidence: Annotated[float, Option(help="0 to 1.")] = 1.0,
    tags: Tags = None,
    metadata: Json = None,
    source_id: Annotated[str | None, Option(help="Key; recorded once.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remember a fact."""
    from aegis.cli.render import line, show_json

    text = read_text("content", content)
    fact = with_client(
        lambda a: a.memory.facts.record(
            concept,
            text,
            category=category,
            source=source,
            confidence=confidence,
            tags=tags or [],
            metadata=json_object("metadata", metadata),
            source_id=source_id,
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(fact)
    else:
        line(f"Recorded fact {fact.id} ({fact.concept}).")


@app.add
def recall(
    query: Annotated[str, Argument(help="A question, in words.")],
    k: Annotated[int, Option("-k", help="How many.")] = 10,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Find the facts that answer a question best."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_fact_hits
    from aegis.wire.plain import plain

    hits = plain(with_client(lambda a: a.memory.facts.recall(query, k=k), namespace=namespace))
    if as_json:
        show_json({"results": hits})
    else:
        show_fact_hits(hits)


@app.add
def get(fact: FactId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show one fact."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.facts.get(fact), namespace=namespace))
    if as_json:
        show_json(found)
    else:
        pairs(list(found.items()))


@app.add
def list_(
    concept: Annotated[str | None, Option(help="This concept only.")] = None,
    category: Category = None,
    tags: Tags = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List facts, last updated first."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_facts
    from aegis.wire.cursor import after_offset, next_offset
    from aegis.wire.plain import plain

    offset = after_offset(cursor)
    rows = with_client(
        lambda a: a.memory.facts.list(
            concept=concept, category=category, tags=tags or [], limit=limit, offset=offset
        ),
        namespace=namespace,
    )
    page = {"items": plain(rows), "next_cursor": next_offset(rows, limit, offset)}
    if as_json:
        show_json(page)
    else:
        show_facts(page)


@app.add
def update(
    fact: FactId,
    concept: Annotated[str | None, Option()] = None,
    content: Annotated[str | None, Option()] = None,
    category: Category = None,
    source: Source = None,
    confidence: Annotated[float | None, Option(help="0 to 1.")] = None,
    tags: Tags = None,
    metadata: Json = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Correct a fact: what is named is replaced, the rest stays."""
    from aegis.cli.render import line, show_json

    async def work(a: Any) -> Any:
        return await a.memory.facts.update(
            fact,
            **named(
                concept=concept,
                content=content,
                category=category,
                source=source,
                confidence=confidence,
                tags=tags,
                metadata=json_object("metadata", metadata),
            ),
        )

    updated = with_client(work, namespace=namespace)
    if as_json:
        show_json(updated)
    else:
        line(f"Updated fact {fact}.")


@app.add
def delete(
    fact: FactId, namespace: Namespace = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Delete a fact for ever."""
    from aegis.cli.render import clip, line, show_json

    if not yes:
        found = with_client(lambda a: a.memory.facts.get(fact), namespace=namespace)
        what = clip(f"{found.concept}: {found.content}", 100)
        confirm(f"Fact {fact} will be deleted: {what}", yes=yes)
    with_client(lambda a: a.memory.facts.delete(fact), namespace=namespace)
    if as_json:
        show_json({"deleted": fact})
    else:
        line(f"Deleted fact {fact}.")
