"""`aegis memory …`: episodes."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import (
    AsJson,
    Cursor,
    ExpiresAt,
    Importance,
    Limit,
    Namespace,
    Since,
    Tags,
    Ttl,
    Until,
    Yes,
)
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, json_object, maybe_time, named, read_text, with_client

__all__ = ["app"]

app = App("What the agent remembers.")
app.add_later("import", "aegis.cli.transfer:import_")
app.add_later("export", "aegis.cli.transfer:export")
app.add_later("tune", "aegis.cli.tuning:tune")
app.add_later("reindex", "aegis.cli.tuning:reindex")
app.add_later("forget", "aegis.cli.forgetting:app")
app.add_later("archive", "aegis.cli.archives:app")
app.add_later("erase", "aegis.cli.erasing:erase")
app.add_later("consolidate", "aegis.cli.consolidating:consolidate")
app.add_later("proposals", "aegis.cli.consolidating:app")
app.add_later("audit", "aegis.cli.auditing:audit")
app.add_later("quarantine", "aegis.cli.auditing:app")
app.add_later("facts", "aegis.cli.facts:app")
app.add_later("decisions", "aegis.cli.decisions:app")
app.add_later("items", "aegis.cli.items:app")
app.add_later("graph", "aegis.cli.graph:app")
app.add_later("sync", "aegis.cli.sync:app")
app.add_later("models", "aegis.cli.models:app")

Types = Annotated[list[str] | None, Option("--type", help="A type; may be repeated.")]
LeastImportance = Annotated[
    str | None, Option(help="At least this: low, medium, high or critical.")
]
AskedAt = Annotated[str | None, Option(help='When it is asked, for "last May"; now otherwise.')]
Session = Annotated[str | None, Option("--session", help="Conversation or run.")]
Json = Annotated[str | None, Option(metavar="JSON", help="A JSON object, or @FILE.")]
EpisodeId = Annotated[int, Argument(metavar="ID")]


@app.add
def record(
    event_type: Annotated[str, Argument(help="Such as task_complete, error, learning.")],
    summary: Annotated[str, Argument(help="What happened; `-` reads standard input.")],
    at: Annotated[str | None, Option(help="When it happened; now otherwise.")] = None,
    importance: Importance = "medium",
    tags: Tags = None,
    details: Json = None,
    context: Json = None,
    metadata: Json = None,
    related: Annotated[list[int] | None, Option(help="Id of a related memory.")] = None,
    decision: Annotated[str | None, Option(help="What was decided.")] = None,
    session: Session = None,
    source_id: Annotated[str | None, Option(help="Key; recorded once.")] = None,
    ttl: Ttl = None,
    expires_at: ExpiresAt = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remember something that happened."""
    from aegis.cli.render import line, show_json, when
    from aegis.wire.plain import plain

    text = read_text("summary", summary)
    episode = plain(
        with_client(
            lambda a: a.memory.record(
                event_type,
                text,
                timestamp=maybe_time("at", at),
                importance=importance,  # pyright: ignore[reportArgumentType]
                tags=tags or [],
                details=json_object("details", details),
                context=json_object("context", context),
                metadata=json_object("metadata", metadata),
                related_memories=related or [],
                decision=decision,
                session_id=session,
                source_id=source_id,
                ttl=ttl,
                expires_at=maybe_time("expires_at", expires_at),
            ),
            namespace=namespace,
        )
    )
    if as_json:
        show_json(episode)
    else:
        line(f"Recorded episode {episode['id']} ({event_type}, {when(episode['timestamp'])}).")


@app.add
def recall(
    query: Annotated[str | None, Argument(help="A question, in words.")] = None,
    k: Annotated[int, Option("-k", help="How many.")] = 10,
    mode: Annotated[str, Option(help="hybrid, vector, text or time.")] = "hybrid",
    metric: Annotated[str, Option(help="cosine, l2 or inner_product, for mode vector.")] = "cosine",
    since: Since = None,
    until: Until = None,
    types: Types = None,
    tags: Tags = None,
    min_importance: LeastImportance = None,
    session: Session = None,
    asked_at: AskedAt = None,
    namespace: Namespace = None,
    why: Annotated[bool, Option("--why", help="A sentence on each instead of figures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the memories that answer a question best."""
    from aegis.cli.recalling import recall_episodes
    from aegis.cli.render import show_json
    from aegis.cli.results import show_hits, show_warnings
    from aegis.config import load_settings

    settings = load_settings(namespace=namespace)
    answer = recall_episodes(
        settings,
        {
            "namespace": settings.namespace,
            "k": k,
            "mode": mode,
            "metric": metric,
            **named(
                query=query,
                since=since,
                until=until,
                event_types=types,
                tags=tags,
                min_importance=min_importance,
                session_id=session,
                asked_at=asked_at,
            ),
        },
    )
    if as_json:
        show_json(answer)
    else:
        show_hits(answer["results"], sentences=why)
        show_warnings(answer["warnings"])


@app.add
def context(
    query: Annotated[str | None, Argument(help="A question, in words.")] = None,
    budget: Annotated[int, Option(help="Tokens that the text may have.")] = 2_000,
    k: Annotated[int, Option("-k", help="How many memories to look at.")] = 50,
    mode: Annotated[str, Option(help="hybrid, vector, text or time.")] = "hybrid",
    metric: Annotated[str, Option(help="cosine, l2 or inner_product, for mode vector.")] = "cosine",
    since: Since = None,
    until: Until = None,
    types: Types = None,
    tags: Tags = None,
    min_importance: LeastImportance = None,
    session: Session = None,
    asked_at: AskedAt = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Write what is remembered of a question as text for a prompt."""
    from aegis.cli.recalling import context_block
    from aegis.cli.render import show_json
    from aegis.cli.results import show_block, show_warnings
    from aegis.config import load_settings

    settings = load_settings(namespace=namespace)
    block = context_block(
        settings,
        {
            "namespace": settings.namespace,
            "budget_tokens": budget,
            "k": k,
            "mode": mode,
            "metric": metric,
            **named(
                query=query,
                since=since,
                until=until,
                event_types=types,
                tags=tags,
                min_importance=min_importance,
                session_id=session,
                asked_at=asked_at,
            ),
        },
    )
    if as_json:
        show_json(block)
    else:
        show_block(block)
        show_warnings(block["warnings"])


@app.add
def get(episode: EpisodeId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show one episode."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.get(episode), namespace=namespace))
    if as_json:
        show_json(found)
    else:
        pairs(list(found.items()))


@app.add
def list_(
    limit: Limit = 20,
    cursor: Cursor = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    tags: Tags = None,
    min_importance: LeastImportance = None,
    session: Session = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List episodes, newest first."""
    from aegis.cli.results import show_episodes
    from aegis.wire.cursor import EPISODES

    show_page(
        EPISODES,
        lambda a, before: a.memory.list(
            limit=limit,
            before=before,
            since=maybe_time("since", since),
            until=maybe_time("until", until),
            event_types=types or [],
            tags=tags or [],
            min_importance=min_importance,  # pyright: ignore[reportArgumentType]
            session_id=session,
        ),
        show_episodes, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


@app.add
def update(
    episode: EpisodeId,
    summary: Annotated[str | None, Option(help="Gets a new vector.")] = None,
    event_type: Annotated[str | None, Option("--type")] = None,
    at: Annotated[str | None, Option(help="When it happened.")] = None,
    importance: Annotated[str | None, Option(help="low … critical.")] = None,
    tags: Tags = None,
    details: Json = None,
    context: Json = None,
    metadata: Json = None,
    related: Annotated[list[int] | None, Option(help="Id of a related memory.")] = None,
    decision: Annotated[str | None, Option()] = None,
    session: Session = None,
    expires_at: ExpiresAt = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Correct an episode: what is named is replaced, the rest stays."""
    from aegis.cli.render import line, show_json

    async def work(a: Any) -> Any:
        return await a.memory.update(
            episode,
            **named(
                summary=summary,
                event_type=event_type,
                timestamp=maybe_time("at", at),
                importance=importance,
                tags=tags,
                details=json_object("details", details),
                context=json_object("context", context),
                metadata=json_object("metadata", metadata),
                related_memories=related,
                decision=decision,
                session_id=session,
                expires_at=maybe_time("expires_at", expires_at),
            ),
        )

    updated = with_client(work, namespace=namespace)
    if as_json:
        show_json(updated)
    else:
        line(f"Updated episode {episode}.")


@app.add
def delete(
    episode: EpisodeId, namespace: Namespace = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Delete an episode for ever."""
    from aegis.cli.render import clip, line, show_json

    if not yes:
        found = with_client(lambda a: a.memory.get(episode), namespace=namespace)
        confirm(f"Episode {episode} will be deleted: {clip(found.summary, 100)}", yes=yes)
    with_client(lambda a: a.memory.delete(episode), namespace=namespace)
    if as_json:
        show_json({"deleted": episode})
    else:
        line(f"Deleted episode {episode}.")


@app.add
def backfill(
    limit: Annotated[int | None, Option(help="At most so many rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fill in the vectors that are missing."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    with counting("Embedding") as seen:
        filled = with_client(lambda a: a.memory.backfill(limit=limit, on_progress=seen))
    if as_json:
        show_json({"filled": filled})
    else:
        line(f"Filled in {filled} vectors." if filled else "No vector is missing.")
