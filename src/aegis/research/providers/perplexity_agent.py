"""Answers of Perplexity's Agent API (`/v1/responses`), of which a path that ends so is the sign.

A response runs in the background and can be cancelled. Its text is in `output[]`, in contents of
type `output_text` with annotations; results of searches are in items of their own. `usage.cost` is
in the currency that it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aegis.research.models import Call, Citation, Meter, Progress, Report, Source
from aegis.research.reading import amount, items, mapping, money, text

if TYPE_CHECKING:
    from aegis.research.models import JobRow

__all__ = ["CHOICES", "is_agent", "parse", "request"]

#: Every status of the API, and what it means for a job.
STATES: Final = {
    "queued": "running",
    "in_progress": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "incomplete": "completed",
    "requires_action": "stuck",
}
#: What `options` may hold beside `preset`: `max_steps`, 1 to 100.
CHOICES: Final = ("preset", "max_steps")


def is_agent(path: str) -> bool:
    """Return whether a path is the Agent API's."""
    return path.rstrip("/").endswith("/responses")


def request(job: JobRow) -> dict[str, Any]:
    """Return the body of a start; a preset stands instead of the model."""
    given = dict(job.options or {})
    preset = given.pop("preset", None)
    chosen = {"preset": preset} if preset else {"model": job.model}
    return {**chosen, "input": job.query, "background": True, **given}


def parse(document: dict[str, Any]) -> Progress:
    """Return what a response says."""
    remote_id = text(document.get("id"))
    status = str(document.get("status")).lower()
    # A status that is not known yet is waited out, up to the ceiling.
    state = STATES.get(status, "running")
    if state == "running":
        return Progress(state="running", remote_id=remote_id, poll_after_s=5.0)
    calls = _calls(document, remote_id)
    common: dict[str, Any] = {"remote_id": remote_id, "calls": calls}
    if state == "cancelled":
        return Progress(state="cancelled", **common)
    report = _report(document, status)
    if state == "completed" and report is not None:
        return Progress(state="completed", report=report, **common)
    error = mapping(document.get("error"))
    why = text(error.get("message")) or text(error.get("code")) or "no reason was given"
    said = {
        "stuck": "Perplexity asks for an answer (requires_action), which nobody is there to give.",
        "completed": "Perplexity completed it without a report.",
    }
    codes = {"stuck": "research_requires_action", "completed": "research_empty"}
    return Progress(
        state="failed",
        error=said.get(state, f"Perplexity failed: {why}"),
        error_code=codes.get(state, "research_failed"),
        **common,
    )


def _calls(document: dict[str, Any], remote_id: str | None) -> tuple[Call, ...]:
    usage = mapping(document.get("usage"))
    if not usage:
        return ()
    cost = mapping(usage.get("cost"))
    dollars = str(cost.get("currency") or "USD").upper() == "USD"
    details = mapping(usage.get("input_tokens_details"))
    cached = amount(details.get("cached_tokens"))
    counted: dict[Meter, int] = {
        "input_tokens": max(amount(usage.get("input_tokens")) - cached, 0),
        "cached_input_tokens": cached,
        "output_tokens": amount(usage.get("output_tokens")),
        "searches": sum(
            amount(mapping(one).get("invocation"))
            for name, one in mapping(usage.get("tool_calls_details")).items()
            if "search" in name
        ),
    }
    # Another currency than dollars is no amount that a budget knows.
    given = money(cost.get("total_cost")) if dollars else None
    model = text(document.get("model"))
    return (Call(key=remote_id or "response", usage=counted, model=model, given_usd=given),)


def _report(document: dict[str, Any], status: str) -> Report | None:
    parts: list[str] = []
    sources: list[Source] = []
    citations: list[Citation] = []
    before = 0
    for item in items(document.get("output")):
        if item.get("type") == "message":
            for content in items(item.get("content")):
                part = text(content.get("text")) or ""
                citations += [_citation(note, before) for note in items(content.get("annotations"))]
                parts.append(part)
                before += len(part)
        else:
            # Results of searches and of pages that were read.
            for one in (*items(item.get("results")), *items(item.get("contents"))):
                sources.append(_source(one))
    body = "".join(parts)
    if not body.strip():
        return None
    if not sources:
        # Where no result of a tool is told, annotations are all that the provider returns.
        sources = [Source(url=c.url, title=c.title) for c in citations if c.url]
    warnings = () if status == "completed" else (f"Perplexity ended early: {status}.",)
    return Report(
        text=body,
        sources=tuple(sources),
        citations=tuple(citations),
        warnings=warnings,
        model=text(document.get("model")),
    )


def _source(one: dict[str, Any]) -> Source:
    return Source(
        url=text(one.get("url")),
        title=text(one.get("title")),
        snippet=text(one.get("snippet")),
        published=text(one.get("date")) or text(one.get("last_updated")),
    )


def _citation(note: dict[str, Any], before: int) -> Citation:
    start, end = note.get("start_index"), note.get("end_index")
    placed = isinstance(start, int) and isinstance(end, int) and 0 <= start <= end
    return Citation(
        url=text(note.get("url")),
        title=text(note.get("title")),
        start_char=before + start if placed and isinstance(start, int) else None,
        end_char=before + end if placed and isinstance(end, int) else None,
    )
