"""How people see what decisions teach: options side by side, confidence borne out, what is due."""

from __future__ import annotations

from typing import Any

from aegis.cli.render import clip, line, note, style, table, when, width

__all__ = ["show_advice", "show_calibration", "show_due"]

_OUTCOME = {"success": "green", "partial": "yellow", "failure": "red"}
_BAR = 20


def show_advice(advice: dict[str, Any]) -> None:
    """Write how each option fared, then the lessons and what they rest on."""
    if not advice["precedents"]:
        note(advice["summary"])
        return
    line(advice["summary"])
    records = advice["options"] + advice["others"]
    table(
        ["option", "chosen", "good", "partly", "failed", "open", "success rate"],
        [_option(record) for record in records],
        wide="option",
        empty="No option fits.",
    )
    for record in records:
        for lesson in record["lessons"]:
            _lesson(record["option"], lesson)
    if advice["others"]:
        others = ", ".join(clip(record["option"], 30) for record in advice["others"])
        line(style(f"Chosen before, but not asked about: {others}", "dim"))
    weighted = ", ".join(_weighted(record) for record in records if record["weighted"])
    if weighted:
        line(style(f"Weighted by similarity: {weighted}", "dim"))
    ids = ", ".join(f"{p['decision_id']} ({p['similarity']:.2f})" for p in advice["precedents"])
    line(style(clip(f"Decisions, and how alike: {ids}", min(width(), 110)), "dim"))


def show_calibration(found: dict[str, Any]) -> None:
    """Write the bins with a bar for the share of success, and the scores."""
    if not found["bins"]:
        note(found["summary"])
        return
    line(found["summary"])
    table(
        ["confidence", "decisions", "said", "succeeded", "interval", "share"],
        [
            [
                f"{b['low']:.2f} to {b['high']:.2f}",
                str(b["decisions"]),
                f"{b['mean_confidence']:.2f}",
                f"{b['success_share']:.2f}",
                _interval(b["interval"]),
                _bar(b["success_share"], b["mean_confidence"]),
            ]
            for b in found["bins"]
        ],
        wide="share",
        empty="",
    )
    line(style(f"█ succeeded, │ said; partial ({found['partials']}) is no success", "dim"))
    line(f"Brier score {found['brier_score']:.3f} (0 is best, always 0.5 gets 0.250)")
    line(f"Expected calibration error {found['expected_calibration_error']:.3f} (0 is best)")


def show_due(page: dict[str, Any]) -> None:
    """Write a page of decisions that wait for their outcome."""
    table(
        ["id", "decided", "review", "chosen", "task"],
        [
            [
                str(d["id"]),
                when(d["created_at"]),
                when(d["review_at"]),
                clip(d["chosen_option"], 30),
                clip(d["task_context"], 400),
            ]
            for d in page["items"]
        ],
        wide="task",
        empty="No decision is due.",
    )


def _option(record: dict[str, Any]) -> list[str]:
    rate, interval = "", record["interval"]
    if interval:
        rate = f"{record['success_rate']:.2f} ({interval['low']:.2f}-{interval['high']:.2f})"
    counts = [str(record[name]) for name in ("chosen", "success", "partial", "failure", "pending")]
    return [clip(record["option"], 60), *counts, rate]


def _weighted(record: dict[str, Any]) -> str:
    found = record["weighted"]
    # A sample by similarity is seldom a whole number.
    rate = f"{found['success_rate']:.2f} (sample {found['sample']:.1f})"
    return f"{clip(record['option'], 30)} {rate}"


def _lesson(option: str, lesson: dict[str, Any]) -> None:
    status = lesson["outcome_status"]
    said = [text for text in (lesson["lessons_learned"], lesson["user_feedback"]) if text]
    text = f"{option} ({status}, decision {lesson['decision_id']}): {' · '.join(said)}"
    line(style(clip(text, min(width(), 110)), _OUTCOME.get(status, "dim")))


def _interval(interval: dict[str, float]) -> str:
    return f"{interval['low']:.2f} to {interval['high']:.2f}"


def _bar(share: float, said: float) -> str:
    """Return a bar of `share`, with a mark where the confidence was."""
    cells = ["█" if place < round(share * _BAR) else "·" for place in range(_BAR)]
    cells[min(_BAR - 1, int(said * _BAR))] = "│"
    return "".join(cells)
