"""`aegis memory decisions …`."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace, Yes
from aegis.cli.running import confirm, json_object, named, with_client

__all__ = ["app"]

app = App("What was decided, and how it turned out.")

DecisionId = Annotated[int, Argument(metavar="ID")]
Feedback = Annotated[str | None, Option(help="positive, negative or neutral.")]
Lessons = Annotated[str | None, Option(help="What to do next time.")]
Json = Annotated[str | None, Option(metavar="JSON", help="A JSON object, or @FILE.")]


@app.add
def record(
    task_context: Annotated[str, Argument(help="What was to be decided.")],
    option: Annotated[list[str], Option("--option", "-o", help="An alternative; repeat for each.")],
    choose: Annotated[str, Option(help="The one that was chosen.")],
    because: Annotated[str, Option(help="Why.")],
    episode: Annotated[int | None, Option(help="Id of the episode it belongs to.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Record a decision with the options that there were."""
    from aegis.cli.render import line, show_json

    decision = with_client(
        lambda a: a.memory.decisions.record(
            task_context,
            alternatives=option,
            chosen_option=choose,
            reasoning=because,
            episode_id=episode,
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(decision)
    else:
        line(f"Recorded decision {decision.id}; resolve it when the outcome is known.")


@app.add
def resolve(
    decision: DecisionId,
    outcome: Annotated[str, Argument(help="success, partial or failure.")],
    lessons: Lessons = None,
    feedback: Feedback = None,
    details: Json = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Record how a decision turned out, once."""
    from aegis.cli.render import line, show_json

    resolved = with_client(
        lambda a: a.memory.decisions.resolve(
            decision,
            outcome,  # pyright: ignore[reportArgumentType]
            lessons=lessons,
            feedback=feedback,  # pyright: ignore[reportArgumentType]
            details=json_object("details", details),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(resolved)
    else:
        line(f"Decision {decision} turned out: {outcome}.")


@app.add
def recall(
    query: Annotated[str, Argument(help="What is to be decided now.")],
    k: Annotated[int, Option("-k", help="How many.")] = 5,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Find earlier decisions of the kind, and how they turned out."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_decision_hits
    from aegis.wire.plain import plain

    hits = plain(with_client(lambda a: a.memory.decisions.recall(query, k=k), namespace=namespace))
    if as_json:
        show_json({"results": hits})
    else:
        show_decision_hits(hits)


@app.add
def get(decision: DecisionId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show one decision."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.decisions.get(decision), namespace=namespace))
    if as_json:
        show_json(found)
    else:
        pairs(list(found.items()))


@app.add
def list_(
    outcome: Annotated[str | None, Option(help="pending, success, partial or failure.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List decisions, newest first."""
    from aegis.cli.render import show_json
    from aegis.cli.results import show_decisions
    from aegis.wire.cursor import after_offset, next_offset
    from aegis.wire.plain import plain

    offset = after_offset(cursor)
    rows = with_client(
        lambda a: a.memory.decisions.list(
            outcome=outcome,  # pyright: ignore[reportArgumentType]
            limit=limit,
            offset=offset,
        ),
        namespace=namespace,
    )
    page = {"items": plain(rows), "next_cursor": next_offset(rows, limit, offset)}
    if as_json:
        show_json(page)
    else:
        show_decisions(page)


@app.add
def update(
    decision: DecisionId,
    task_context: Annotated[str | None, Option()] = None,
    because: Annotated[str | None, Option(help="Why.")] = None,
    lessons: Lessons = None,
    feedback: Feedback = None,
    details: Annotated[
        str | None, Option(metavar="JSON", help="Of the outcome: an object, or @FILE.")
    ] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Correct a decision's words; what was chosen and how it ended stay."""
    from aegis.cli.render import line, show_json

    async def work(a: Any) -> Any:
        return await a.memory.decisions.update(
            decision,
            **named(
                task_context=task_context,
                reasoning=because,
                lessons_learned=lessons,
                user_feedback=feedback,
                outcome_details=json_object("details", details),
            ),
        )

    updated = with_client(work, namespace=namespace)
    if as_json:
        show_json(updated)
    else:
        line(f"Updated decision {decision}.")


@app.add
def delete(
    decision: DecisionId, namespace: Namespace = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Delete a decision for ever; its episode stays."""
    from aegis.cli.render import clip, line, show_json

    if not yes:
        found = with_client(lambda a: a.memory.decisions.get(decision), namespace=namespace)
        what = clip(f"{found.task_context}: {found.chosen_option}", 100)
        confirm(f"Decision {decision} will be deleted: {what}", yes=yes)
    with_client(lambda a: a.memory.decisions.delete(decision), namespace=namespace)
    if as_json:
        show_json({"deleted": decision})
    else:
        line(f"Deleted decision {decision}.")
