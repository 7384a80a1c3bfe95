"""Gemini's Deep Research over the Interactions API.

Both shapes of answers are read: `steps[]`, and `outputs[]` as it was until April 2026. The usage of
an interaction may be missing when it has just completed: it is read again until it is there. The
API knows no idempotency key, so a start without an answer is not sent again. Between two reads its
stream of events may be followed, which tells earlier that it is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlencode

import anyio

from aegis.errors import InvalidInput
from aegis.research.models import Call, Citation, Meter, Progress, Report, Source
from aegis.research.providers import Ceilings
from aegis.research.providers.gemini_stream import Following
from aegis.research.reading import amount, items, mapping, text
from aegis.research.texts import char_index
from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.config import Settings
    from aegis.research.asking import Asking, Endpoint
    from aegis.research.models import JobRow, ProviderName
    from aegis.research.providers import Restart

__all__ = ["STATES", "Gemini"]

#: Every status of the API, and what it means for a job. `partial` ends it with what there is.
STATES: Final = {
    "queued": "running",
    "in_progress": "running",
    "requires_action": "stuck",
    "requires_continuation": "partial",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "incomplete": "partial",
    "budget_exceeded": "partial",
}
#: How often a finished interaction is read for its usage, and the pause before the first time.
_READS: Final = 6
_FIRST_READ_S: Final = 1.0
#: Seconds that a stream is followed at a time: a wish to cancel is looked at between two.
_FOLLOW_S: Final = 25.0
#: Keys of a checkpoint: where a stream goes on, and that there is none to be had.
_LAST, _NO_STREAM = "last_event_id", "no_stream"
_CHOICES: Final = {"thinking_summaries": ("auto", "none"), "visualization": ("off", "auto")}


class Gemini:
    """Deep Research of Google."""

    name: ProviderName = "gemini"
    restart: Restart = "never"
    ceilings = Ceilings(total_s=65 * 60.0, request_s=30.0, poll_s=10.0, longest_poll_s=30.0)

    def __init__(self, settings: Settings, asking: Asking) -> None:
        from aegis.research.asking import Endpoint

        key = settings.research_gemini_api_key
        self.model: str | None = settings.research_gemini_agent
        self.url: str | None = settings.research_gemini_url
        self._path = settings.research_gemini_path
        self._streams = settings.research_gemini_stream == "on"
        self._asking = asking
        self._endpoint: Endpoint = Endpoint(
            name="Gemini",
            base=settings.research_gemini_url,
            headers={"x-goog-api-key": key or ""},
            key_setting="AEGIS_RESEARCH_GEMINI_API_KEY",
            key=key,
        )

    def missing(self) -> list[str]:
        """Return the settings that are needed and missing."""
        return [] if self._endpoint.key else [self._endpoint.key_setting]

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options that it knows: `thinking_summaries` and `visualization`."""
        for name, value in given.items():
            if value not in _CHOICES.get(name, ()):
                known = "; ".join(f"{n}: {', '.join(c)}" for n, c in _CHOICES.items())
                raise InvalidInput(f"option {name!r} is {value!r:.60}; gemini takes {known}.")
        return given

    def pays_next(self, job: JobRow) -> bool:
        """Only the start is paid."""
        return job.remote_id is None

    async def start(self, job: JobRow, *, now: datetime) -> Progress:
        """Create the interaction, in the background."""
        config: dict[str, Any] = {
            "type": "deep-research",
            "thinking_summaries": "auto",
            "visualization": "off",
            "collaborative_planning": False,
            **(job.options or {}),
        }
        document = await self._asking.ask(
            self._endpoint,
            "POST",
            self._path,
            body={
                "agent": job.model,
                "input": job.query,
                "background": True,
                "store": True,
                "agent_config": config,
                "labels": {"aegis_job": job.id},
            },
            timeout_s=self.ceilings.request_s,
            now=now,
        )
        if text(document.get("id")) is None:
            raise Trouble("Gemini's answer to the start has no id.", uncertain=True)
        progress = self.parse(document)
        if progress.state == "completed":
            # Its usage is settled by a later read, as of any other.
            return self._reread(progress, reads=0)
        return progress

    async def poll(self, job: JobRow, *, now: datetime) -> Progress:
        """Read the interaction; a finished one again until its usage is there."""
        followed = await self._follow(job, now=now)
        document = await self._asking.ask(
            self._endpoint,
            "GET",
            self._place(job),
            timeout_s=self.ceilings.request_s,
            now=now,
        )
        progress = self.parse(document)
        reads = amount(mapping(job.checkpoint).get("reads"))
        if progress.state == "running" and followed is not None:
            return replace(progress, **followed)
        if progress.state == "running" or reads >= _READS:
            return progress
        if reads >= 1 and progress.calls:
            return progress
        return self._reread(progress, reads=reads)

    async def cancel(self, job: JobRow, *, now: datetime) -> bool:
        """Cancel the interaction."""
        await self._asking.ask(
            self._endpoint,
            "POST",
            f"{self._place(job)}/cancel",
            body={},
            timeout_s=self.ceilings.request_s,
            now=now,
        )
        return True

    def parse(self, document: dict[str, Any]) -> Progress:
        """Return what an interaction says, in its new and its old shape."""
        remote_id = text(document.get("id"))
        status = str(document.get("status"))
        # A status that is not known yet is waited out, up to the ceiling.
        state = STATES.get(status, "running")
        if state == "running":
            return Progress(state="running", remote_id=remote_id)
        calls = _calls(document, remote_id)
        report = _report(document, status)
        why = "; ".join(
            f"{e.get('code') or 'error'}: {e.get('message') or ''}"
            for e in items(document.get("errors"))
        )
        common: dict[str, Any] = {"remote_id": remote_id, "calls": calls}
        if state == "cancelled":
            return Progress(state="cancelled", **common)
        if state == "stuck":
            return Progress(
                state="failed",
                error="Gemini asks for an answer (requires_action), which nobody is there to give.",
                error_code="research_requires_action",
                **common,
            )
        if state != "failed" and report is not None:
            return Progress(state="completed", report=report, **common)
        return Progress(
            state="failed",
            error=f"Gemini ended it as {status}" + (f": {why}" if why else " without a report"),
            error_code=f"research_{status}",
            **common,
        )

    async def _follow(self, job: JobRow, *, now: datetime) -> dict[str, Any] | None:
        """Follow the events for a while, and return how a job that goes on is to be asked again.

        None where events are not wanted, or not to be had. A stream that fails says nothing of the
        interaction: that is read, whatever the stream did.
        """
        known = mapping(job.checkpoint)
        if not self._streams or any(known.get(key) for key in ("reads", "cancelled", _NO_STREAM)):
            return None
        following = Following(last_event_id=text(known.get(_LAST)))
        query = {"stream": "true"}
        if following.last_event_id is not None:
            query[_LAST] = following.last_event_id
        begun = anyio.current_time()
        try:
            async with self._asking.open(
                self._endpoint,
                "GET",
                f"{self._place(job)}?{urlencode(query)}",
                body=None,
                timeout_s=_FOLLOW_S,
                now=now,
            ) as chunks:
                await following.read(chunks)
        except Trouble as trouble:
            if trouble.retry_after_s is not None:
                raise
            if not trouble.retry and not following.events:
                return {"checkpoint": {_NO_STREAM: True}}
        # One that ends early and often must not be asked for without a pause.
        lasted = anyio.current_time() - begun >= _FOLLOW_S / 2
        again: dict[str, Any] = {"poll_after_s": 0.0} if lasted else {}
        return {**again, "checkpoint": {_LAST: following.last_event_id}}

    def _place(self, job: JobRow) -> str:
        return f"{self._path.rstrip('/')}/{quote(job.remote_id or '', safe='')}"

    def _reread(self, progress: Progress, *, reads: int) -> Progress:
        return Progress(
            state="running",
            remote_id=progress.remote_id,
            poll_after_s=_FIRST_READ_S * 2**reads,
            checkpoint={"reads": reads + 1},
        )


def _calls(document: dict[str, Any], remote_id: str | None) -> tuple[Call, ...]:
    usage = mapping(document.get("usage"))
    cached = amount(usage.get("total_cached_tokens"))
    counted: dict[Meter, int] = {
        # The input holds what was cached; what tools read comes beside it.
        "input_tokens": max(amount(usage.get("total_input_tokens")) - cached, 0)
        + amount(usage.get("total_tool_use_tokens")),
        "cached_input_tokens": cached,
        # Thoughts are charged as output.
        "output_tokens": amount(usage.get("total_output_tokens"))
        + amount(usage.get("total_thought_tokens")),
        "searches": sum(
            amount(one.get("count"))
            for one in items(usage.get("grounding_tool_count"))
            if "search" in str(one.get("type"))
        ),
    }
    if not any(counted.values()):
        return ()
    model = text(document.get("agent")) or text(document.get("model"))
    return (Call(key=remote_id or "interaction", usage=counted, model=model),)


def _report(document: dict[str, Any], status: str) -> Report | None:
    steps = items(document.get("steps"))
    outputs: list[list[dict[str, Any]]]
    if steps:
        outputs = [items(s.get("content")) for s in steps if s.get("type") == "model_output"]
    else:
        # The old shape: a list of contents, of which each is an output.
        outputs = [[one] for one in items(document.get("outputs"))]
    written = [contents for contents in outputs if _text_of(contents).strip()]
    if not written:
        return None
    body, citations = _joined(written[-1])
    found = _returned(steps)
    if not found:
        # Where no result of a tool is told, annotations are all that the provider returns.
        found = [Source(url=c.url, title=c.title) for c in citations]
    warnings = () if status == "completed" else (f"Gemini ended early: {status}.",)
    failed = sum(1 for s in steps if str(s.get("type")).endswith("_result") and s.get("is_error"))
    if failed:
        warnings += (f"{failed} of Gemini's searches or page reads failed.",)
    model = text(document.get("agent")) or text(document.get("model"))
    return Report(
        text=body, sources=tuple(found), citations=citations, warnings=warnings, model=model
    )


def _text_of(contents: list[dict[str, Any]]) -> str:
    return "".join(text(c.get("text")) or "" for c in contents if c.get("type", "text") == "text")


def _joined(contents: list[dict[str, Any]]) -> tuple[str, tuple[Citation, ...]]:
    """Return the texts as one, with annotations at characters of it; the API counts bytes."""
    parts: list[str] = []
    citations: list[Citation] = []
    before = 0
    for content in contents:
        if content.get("type", "text") != "text":
            continue
        part = text(content.get("text")) or ""
        encoded = part.encode("utf-8", errors="replace")
        for note in items(content.get("annotations")):
            if note.get("type", "url_citation") != "url_citation":
                continue
            start = char_index(encoded, note.get("start_index"))
            end = char_index(encoded, note.get("end_index"))
            placed = start is not None and end is not None and start <= end
            citations.append(
                Citation(
                    # Older annotations called it `source`.
                    url=text(note.get("url")) or text(note.get("source")),
                    title=text(note.get("title")),
                    cited_text=part[start:end] if placed else None,
                    start_char=before + cast("int", start) if placed else None,
                    end_char=before + cast("int", end) if placed else None,
                )
            )
        parts.append(part)
        before += len(part)
    return "".join(parts), tuple(citations)


def _returned(steps: list[dict[str, Any]]) -> list[Source]:
    """Return what searches and page reads came back with."""
    found: list[Source] = []
    for step in steps:
        kind = str(step.get("type"))
        if kind not in ("google_search_result", "url_context_result") or step.get("is_error"):
            continue
        result = step.get("result")
        for one in items(result) or items(mapping(result).get("results")) or [mapping(result)]:
            url = text(one.get("url")) or text(one.get("uri")) or text(one.get("retrieved_url"))
            if url is not None and str(one.get("status", "success")).lower() != "error":
                found.append(
                    Source(url=url, title=text(one.get("title")), snippet=text(one.get("snippet")))
                )
    return found
