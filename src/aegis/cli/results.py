"""How people see memories: recalled ones with their reasons, listed ones in a table."""

from __future__ import annotations

import textwrap
from typing import Any

from aegis.cli.render import clip, flat, importance, line, note, style, table, when, width

__all__ = [
    "show_block",
    "show_decision_hits",
    "show_decisions",
    "show_episodes",
    "show_fact_hits",
    "show_fact_sources",
    "show_fact_steps",
    "show_facts",
    "show_hits",
    "why",
]

_LINES = 3
_OUTCOME = {"success": "green", "partial": "yellow", "failure": "red"}


def show_hits(results: list[dict[str, Any]], *, sentences: bool = False) -> None:
    """Write recalled episodes: rank, when, type and score, the summary, and why."""
    if not results:
        note("Nothing is remembered that fits.")
        return
    digits = len(str(len(results)))
    for rank, hit in enumerate(results, 1):
        show_hit(rank, hit, digits, sentence=sentences)


def show_block(block: dict[str, Any]) -> None:
    """Write a block as it goes into a prompt, and beside it how much room it takes."""
    if block["text"]:
        line(block["text"])
    else:
        note("Nothing is remembered that fits.")
    told = f"{block['tokens']} of {block['budget_tokens']} tokens, {len(block['ids'])} memories"
    if block["left_out"]:
        told += f"; no room for {len(block['left_out'])} more"
    note(told + ".")


def show_warnings(warnings: list[str]) -> None:
    """Write what an answer had to do without, beside it."""
    for warning in warnings:
        note(warning)


def show_hit(rank: int, hit: dict[str, Any], digits: int, *, sentence: bool = False) -> None:
    """Write one recalled episode, with the figures of its score or with a sentence on it."""
    episode = hit["episode"]
    facts = [when(episode["timestamp"]), style(episode["event_type"], "cyan")]
    if episode["importance"] != "medium":
        facts.append(importance(episode["importance"]))
    facts += [f"#{tag}" for tag in episode["tags"][:4]]
    _entry(rank, digits, hit["score"], facts, episode["id"], episode["summary"])
    if sentence:
        for part in textwrap.wrap(flat(hit["why"]), _columns(digits)):
            line(" " * (digits + 2) + style(part, "dim"))
    else:
        _reasons(hit["parts"], digits)


def show_fact_hits(results: list[dict[str, Any]]) -> None:
    """Write recalled facts: rank, score, concept and content."""
    if not results:
        note("Nothing is known that fits.")
        return
    digits = len(str(len(results)))
    for rank, hit in enumerate(results, 1):
        fact = hit["fact"]
        facts = [style(fact["concept"], "cyan"), f"confidence {fact['confidence']:g}"]
        facts += [text for text in (fact["category"], fact["source"]) if text]
        _entry(rank, digits, hit["score"], facts, fact["id"], fact["content"])
        reasons = f"similarity {hit['similarity']:.3f} · words {hit['word_rank']:.3f}"
        line(" " * (digits + 2) + style(reasons, "dim"))


def show_decision_hits(results: list[dict[str, Any]]) -> None:
    """Write recalled decisions: what was to be decided, what was chosen, how it turned out."""
    if not results:
        note("No decision is remembered that fits.")
        return
    digits = len(str(len(results)))
    for rank, result in enumerate(results, 1):
        decision, hit = result["decision"], result["hit"]
        status = decision["outcome_status"]
        facts = [when(decision["created_at"]), style(status, _OUTCOME.get(status, "dim"))]
        text = f"{decision['task_context']}: chose {decision['chosen_option']}"
        _entry(rank, digits, hit["score"], facts, decision["id"], text)
        if decision["lessons_learned"]:
            lessons = clip(decision["lessons_learned"], _columns(digits))
            line(" " * (digits + 2) + style(f"Lesson: {lessons}", "yellow"))
        _reasons(hit["parts"], digits)


def why(parts: list[dict[str, Any]], *, details: int | None = None) -> str:
    """Return the parts of a score in one line, the largest first; `details` have theirs told."""
    texts: list[str] = []
    for part in sorted(parts, key=lambda part: -part["score"]):
        if part["score"] == 0 and not part["detail"]:
            continue
        text = f"{part['arm']} {part['score']:.2f}"
        told = part["detail"] and (details is None or len(texts) < details)
        texts.append(f"{text} ({part['detail']})" if told else text)
    return " · ".join(texts)


def show_episodes(page: dict[str, Any]) -> None:
    """Write a page of episodes."""
    table(
        ["id", "when", "type", "importance", "summary"],
        [
            [
                str(e["id"]),
                when(e["timestamp"]),
                clip(e["event_type"], 24),
                e["importance"],
                clip(e["summary"], 400),
            ]
            for e in page["items"]
        ],
        wide="summary",
        empty="No episode fits.",
    )


def show_facts(page: dict[str, Any]) -> None:
    """Write a page of facts."""
    table(
        ["id", "concept", "category", "confidence", "content"],
        [
            [
                str(f["id"]),
                clip(f["concept"], 30),
                clip(f["category"] or "", 16),
                f"{f['confidence']:g}",
                clip(f["content"], 400),
            ]
            for f in page["items"]
        ],
        wide="content",
        empty="No fact fits.",
    )


def show_fact_steps(steps: list[dict[str, Any]]) -> None:
    """Write the steps of a fact, with what it said before each."""
    table(
        ["step", "when", "action", "by", "undoes", "before"],
        [
            [
                str(s["id"]),
                when(s["at"]),
                s["action"],
                clip(s["actor"] or "", 16),
                "" if s["undoes"] is None else str(s["undoes"]),
                "" if s["before"] is None else clip(str(s["before"].get("content", "")), 400),
            ]
            for s in steps
        ],
        wide="before",
        empty="It was imported, and nothing has changed it since.",
    )


def show_fact_sources(sources: list[dict[str, Any]]) -> None:
    """Write who said a fact, and how sure each is."""
    table(
        ["when", "source", "confidence", "content"],
        [
            [
                when(s["recorded_at"]),
                clip(s["source"] or "", 30),
                f"{s['confidence']:g}",
                clip(s["content"], 400),
            ]
            for s in sources
        ],
        wide="content",
        empty="Nobody said it.",
    )


def show_decisions(page: dict[str, Any]) -> None:
    """Write a page of decisions."""
    table(
        ["id", "when", "outcome", "chosen", "task"],
        [
            [
                str(d["id"]),
                when(d["created_at"]),
                d["outcome_status"],
                clip(d["chosen_option"], 30),
                clip(d["task_context"], 400),
            ]
            for d in page["items"]
        ],
        wide="task",
        empty="No decision fits.",
    )


def _entry(rank: int, digits: int, score: float, facts: list[str], row_id: int, text: str) -> None:
    indent, columns = " " * (digits + 2), _columns(digits)
    head = [style(str(rank).rjust(digits), "bold"), style(f"{score:.3f}", "green"), *facts]
    line("  ".join([*head, style(f"id {row_id}", "dim")]))
    lines = textwrap.wrap(flat(text), columns) or [""]
    for part in lines[: _LINES - 1]:
        line(indent + part)
    if len(lines) >= _LINES:
        line(indent + clip(" ".join(lines[_LINES - 1 :]), columns))


def _reasons(parts: list[dict[str, Any]], digits: int) -> None:
    columns = _columns(digits)
    # Where there is no room for every detail, the largest part keeps its own.
    reasons = why(parts)
    if len(reasons) > columns:
        reasons = why(parts, details=1)
    if reasons:
        line(" " * (digits + 2) + style(clip(reasons, columns), "dim"))


def _columns(digits: int) -> int:
    return min(width(), 110) - digits - 2
