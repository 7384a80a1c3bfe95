"""`aegis memory decisions …`."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, json_object, maybe_time, named, with_client

__all__ = ["app"]

app = App("What was decided, and how it turned out.")

DecisionId = Annotated[int, Argument(metavar="ID")]
Feedback = Annotated[str | None, Option(help="positive, negative or neutral.")]
Lessons = Annotated[str | None, Option(help="What to do next time.")]
ReviewAt = Annotated[
    str | None,
    Option(help="When the outcome ought to be known, such as 2026-05-01T00:00:00+00:00."),
]
Json = Annotated[str | None, Option(metavar="JSON", help="A JSON object, or @FILE.")]


@app.add
def record(
    task_context: Annotated[str, Argument(help="What was to be decided.")],
    option: Annotated[list[str], Option("--option", "-o", help="An alternative; repeat for each.")],
    choose: Annotated[str, Option(help="The one that was chosen.")],
    because: Annotated[str, Option(help="Why.")],
    episode: Annotated[int | None, Option(help="Id of the episode it belongs to.")] = None,
    confidence: Annotated[
        float | None, Option(help="How likely success seems, 0 to 1.", metavar="NUMBER")
    ] = None,
    review_at: ReviewAt = None,
    led_by: Annotated[
        list[str] | None,
        Option(
            metavar="ID[:ROLE]",
            help="An episode that led to it, as trigger, support, against or context; may be "
            "repeated.",
        ),
    ] = None,
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
            confidence=confidence,
            review_at=maybe_time("review_at", review_at),
            episodes=[_link(text) for text in led_by or ()],
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
def advise(
    question: Annotated[str, Argument(help="What is to be decided now.")],
    option: Annotated[
        list[str] | None,
        Option("--option", "-o", help="One to choose from; repeat for each. Any otherwise."),
    ] = None,
    k: Annotated[int, Option("-k", help="How many decisions to compare at most.")] = 20,
    min_similarity: Annotated[
        float, Option(help="Leave out decisions less alike, 0 to 1.", metavar="NUMBER")
    ] = 0.3,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Say how the options fared in similar decisions."""
    from aegis.cli.lessons import show_advice
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    advice = plain(
        with_client(
            lambda a: a.memory.decisions.advise(
                question, options=option, k=k, min_similarity=min_similarity
            ),
            namespace=namespace,
        )
    )
    if as_json:
        show_json(advice)
    else:
        show_advice(advice)


@app.add
def calibration(
    bins: Annotated[int, Option(help="How many bins.")] = 10,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Compare the confidence of decisions with what came of them."""
    from aegis.cli.lessons import show_calibration
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = plain(
        with_client(lambda a: a.memory.decisions.calibration(bins=bins), namespace=namespace)
    )
    if as_json:
        show_json(found)
    else:
        show_calibration(found)


@app.add
def due(
    days: Annotated[int, Option(help="Age from which one without a review time is due.")] = 14,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List decisions whose outcome ought to be known by now, oldest first."""
    from aegis.cli.lessons import show_due
    from aegis.wire.cursor import DUE_DECISIONS

    show_page(
        DUE_DECISIONS,
        lambda a, after: a.memory.decisions.due(days=days, limit=limit, after=after),
        show_due, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


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
    from aegis.cli.results import show_decisions
    from aegis.wire.cursor import BY_OFFSET

    chosen: Any = outcome
    show_page(
        BY_OFFSET,
        lambda a, offset: a.memory.decisions.list(outcome=chosen, limit=limit, offset=offset),
        show_decisions, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


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
    review_at: ReviewAt = None,
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
                review_at=maybe_time("review_at", review_at),
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


def _link(text: str) -> dict[str, Any]:
    """Return what `ID` or `ID:ROLE` says; an id that is none is refused where ids are."""
    number, colon, role = text.partition(":")
    digits = number.strip()
    episode: Any = int(digits) if digits.isdecimal() and len(digits) < 20 else number
    return {"episode_id": episode, "role": role.strip() if colon else "context"}
