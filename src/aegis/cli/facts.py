"""`aegis memory facts …`."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, ExpiresAt, Limit, Namespace, Tags, Ttl, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import (
    confirm,
    json_object,
    maybe_time,
    named,
    read_text,
    with_client,
)

__all__ = ["app"]

app = App("What the agent knows.")

FactId = Annotated[int, Argument(metavar="ID")]
Category = Annotated[str | None, Option(help="Such as preference or architecture.")]
Source = Annotated[str | None, Option(help="Where it is known from.")]
Json = Annotated[str | None, Option(metavar="JSON", help="A JSON object, or @FILE.")]
AsOf = Annotated[str | None, Option(help="As it was believed at this time.")]
ValidAt = Annotated[
    str | None, Option(help="What holds at this time; at that of --as-of, or now, otherwise.")
]
#: Who did it, in the history.
_ACTOR = "cli"


@app.add
def record(
    concept: Annotated[str, Argument(help="What it is about.")],
    content: Annotated[str, Argument(help="What is known; `-` reads standard input.")],
    category: Category = None,
    source: Source = None,
    confidence: Annotated[float | None, Option(help="0 to 1; 1 if left out.")] = None,
    tags: Tags = None,
    metadata: Json = None,
    source_id: Annotated[str | None, Option(help="Key; recorded once.")] = None,
    valid_from: Annotated[str | None, Option(help="Since when it holds.")] = None,
    ttl: Ttl = None,
    expires_at: ExpiresAt = None,
    on_conflict: Annotated[
        str, Option(help="What contradicts it: supersede, keep_both or refuse.")
    ] = "supersede",
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remember a fact; one that is known already becomes surer."""
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
            valid_from=maybe_time("valid_from", valid_from),
            ttl=ttl,
            expires_at=maybe_time("expires_at", expires_at),
            on_conflict=on_conflict,  # pyright: ignore[reportArgumentType]
            actor=_ACTOR,
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
    as_of: AsOf = None,
    valid_at: ValidAt = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Find the facts that answer a question best."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_fact_hits
    from aegis.wire.plain import plain

    found = with_client(
        lambda a: a.memory.facts.recall(
            query,
            k=k,
            as_of=maybe_time("as_of", as_of),
            valid_at=maybe_time("valid_at", valid_at),
        ),
        namespace=namespace,
    )
    hits = plain(found)
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
    as_of: AsOf = None,
    valid_at: ValidAt = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List facts that hold, last updated first."""
    from aegis.cli.results import show_facts
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.memory.facts.list(
            concept=concept,
            category=category,
            tags=tags or [],
            limit=limit,
            offset=offset,
            as_of=maybe_time("as_of", as_of),
            valid_at=maybe_time("valid_at", valid_at),
        ),
        show_facts, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


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
            actor=_ACTOR,
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
    """Delete a fact; its history stays, and `undo` brings it back."""
    from aegis.cli.render import clip, line, show_json

    if not yes:
        found = with_client(lambda a: a.memory.facts.get(fact), namespace=namespace)
        what = clip(f"{found.concept}: {found.content}", 100)
        confirm(f"Fact {fact} will be deleted: {what}", yes=yes)
    with_client(lambda a: a.memory.facts.delete(fact, actor=_ACTOR), namespace=namespace)
    if as_json:
        show_json({"deleted": fact})
    else:
        line(f"Deleted fact {fact}.")


@app.add
def history(
    fact: FactId,
    limit: Limit = 20,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of a fact, the last step first."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_fact_steps
    from aegis.wire.plain import plain

    steps = with_client(lambda a: a.memory.facts.history(fact, limit=limit), namespace=namespace)
    items = plain(steps)
    if as_json:
        show_json({"items": items})
    else:
        show_fact_steps(items)


@app.add
def sources(fact: FactId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show who said a fact, and in which words."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_fact_sources
    from aegis.wire.plain import plain

    said = plain(with_client(lambda a: a.memory.facts.sources(fact), namespace=namespace))
    if as_json:
        show_json({"items": said})
    else:
        show_fact_sources(said)


@app.add
def undo(
    fact: FactId,
    step: Annotated[int | None, Option(help="The step that it has to be.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Take back the last step of a fact: a merge, an end, a change or a deletion."""
    from aegis.cli.render import clip, line, show_json

    restored = with_client(
        lambda a: a.memory.facts.undo(fact, step=step, actor=_ACTOR), namespace=namespace
    )
    if as_json:
        show_json(restored)
    else:
        line(f"Restored fact {fact}: {clip(restored.content, 100)}")
