"""How people see embedding models and the change between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.cli.render import line, note, pairs, style, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.change import (
        ChangePlan,
        ChangeStatus,
        ListedModel,
        RecallCheck,
        SpaceRecall,
    )

__all__ = ["show_check", "show_models", "show_plan", "show_status"]

_BAR = 30


def show_models(models: Sequence[ListedModel]) -> None:
    """Write a row a model."""
    table(
        ["model", "state", "dims", "episodes", "facts", "calls", "texts", "tokens", "USD"],
        [
            [
                model.model or "(no name)",
                ("paused" if model.paused else model.state) or "",
                "" if model.dimensions is None else str(model.dimensions),
                f"{model.episodes:,}",
                f"{model.facts:,}",
                f"{model.calls:,}",
                f"{model.texts:,}",
                f"{model.tokens:,}",
                f"{model.cost_usd:.6f}" if model.tokens else "",
            ]
            for model in models
        ],
        wide="model",
        empty="No embedding model has been used yet.",
    )
    for model in models:
        if model.last_error is not None:
            line(style(f"{model.model}, {model.failures} failed: {model.last_error}", "yellow"))


def show_plan(plan: ChangePlan) -> None:
    """Write what a change would take."""
    price = "not known; set AEGIS_NEXT_EMBEDDING_USD_PER_MILLION_TOKENS"
    if plan.cost_usd is not None:
        price = f"{plan.cost_usd:.4f} USD at {plan.usd_per_million_tokens} USD a million tokens"
    minutes = plan.minutes_at_least
    pairs(
        [
            ("from", plan.source),
            ("to", f"{plan.target}, {plan.dimensions} dimensions"),
            ("texts", f"{plan.texts:,} ({plan.episodes:,} episodes, {plan.facts:,} facts)"),
            ("tokens", f"about {plan.tokens:,}, in {plan.requests:,} requests"),
            ("cost", price),
            ("time", None if minutes is None else f"{minutes:,.1f} minutes or more, at the limits"),
            ("room", f"{plan.bytes / 1e6:,.1f} MB until the change is finished"),
            ("others", f"{plan.others:,} rows of further models stay" if plan.others else None),
        ]
    )


def show_status(status: ChangeStatus) -> None:
    """Write where the change stands, with a bar."""
    rows, done = status.episodes + status.facts, status.episodes_done + status.facts_done
    pairs([("active", status.active), ("other", status.other), ("phase", status.phase)])
    if status.phase in ("filling", "paused", "moving", "ready"):
        share = done / rows if rows else 1.0
        bar = "█" * round(share * _BAR) + "·" * (_BAR - round(share * _BAR))
        line(f"{bar} {done:,} of {rows:,}")
    line(status.advice)
    if status.disagreement is not None:
        note(status.disagreement)


def show_check(check: RecallCheck) -> None:
    """Write what both spaces found, and what speaks against the switch."""
    spaces = [check.target] if check.source is None else [check.source, check.target]
    table(
        ["model", f"recall@{check.k}", "interval", "questions"],
        [_space(space, check.samples) for space in spaces],
        wide="model",
        empty="",
    )
    if check.agreement is not None:
        line(f"Of the {check.k} nearest, the two have {check.agreement:.0%} in common.")
    for objection in check.objections:
        line(style(objection, "yellow"))


def _space(space: SpaceRecall, samples: int) -> list[str]:
    interval = space.interval
    return [
        space.model,
        "" if space.recall is None else f"{space.recall:.3f}",
        "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}",
        f"{space.found} of {samples}",
    ]
