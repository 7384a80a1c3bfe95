"""Gemini's events: they tell earlier that it is done, and whatever they do, the job goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.research.providers import gemini as provider
from aegis.research.providers.gemini_stream import Following
from aegis.research.store import claims
from tests.research.servers import Answer, Script, ok, refused
from tests.research.shapes import GEMINI_USAGE, gemini, gemini_steps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.research.models import JobRow, Progress
    from aegis.research.service import Research
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"
DONE = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
PLACE = "/v1beta/interactions/v1_int"
ON: dict[str, Any] = {"research_gemini_stream": "on"}


def stream(*events: dict[str, Any], end: bool = False, **more: Any) -> Answer:
    """Answer with events numbered as the API does, and its sentinel."""
    told = [
        f"event: {event['event_type']}\r\ndata: {json.dumps({'event_id': f'e{at}', **event})}\r\n"
        for at, event in enumerate(events, 1)
    ]
    body = "\r\n".join([*told, "data: [DONE]\r\n" if end else ""])
    return Answer(body=body.encode(), headers={"Content-Type": "text/event-stream"}, **more)


GOES_ON = (
    {"event_type": "interaction.created", "interaction": gemini("in_progress")},
    {"event_type": "interaction.status_update", "status": "in_progress"},
    {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "It gr"}},
    {"event_type": "step.stop", "index": 0},
)
#: As it comes: without usage.
COMPLETED = {"event_type": "interaction.completed", "interaction": gemini("completed")}


async def test_its_last_event_is_followed_by_a_read_that_has_all(desk: Desk) -> None:
    script = Script(ok(gemini("queued")), stream(*GOES_ON, COMPLETED, end=True), ok(DONE), ok(DONE))
    async with desk.asking(script, **ON) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert [(a.method, a.path) for a in script.asked] == [
        ("POST", "/v1beta/interactions"),
        ("GET", f"{PLACE}?stream=true"),
        # Its usage is settled by a second read, without a stream.
        ("GET", PLACE),
        ("GET", PLACE),
    ]
    assert detail.job.status == "completed"
    assert detail.job.cost_usd == Decimal("1.42")
    assert detail.markdown is not None
    assert "grows" in detail.markdown


@pytest.mark.parametrize(
    "broken",
    [
        stream(*GOES_ON, *GOES_ON, cut="late"),
        stream(*GOES_ON, {"event_type": "error", "error": {"code": 500, "message": "x"}}),
        stream(*GOES_ON, end=True),
        stream(*GOES_ON),
        stream(*GOES_ON, stall=True),
    ],
    ids=["cut", "error", "sentinel", "end", "silence"],
)
async def test_a_stream_that_ends_early_goes_on_from_its_last_event(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken: Answer
) -> None:
    monkeypatch.setattr(provider, "_FOLLOW_S", 0.5)
    rest = stream(COMPLETED, end=True)
    script = Script(ok(gemini("queued")), broken, ok(gemini("in_progress")), rest, ok(DONE))
    async with desk.asking(script, **ON) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    whole = broken.body[: len(broken.body) // 2] if broken.cut == "late" else broken.body
    last = sum(line.startswith(b"data: {") for line in whole.split(b"\n")[:-1])
    assert last >= 4
    assert script.asked[3].path == f"{PLACE}?stream=true&last_event_id=e{last}"
    assert len(script.starts()) == 1


async def test_a_stream_that_is_refused_is_not_asked_for_again(desk: Desk) -> None:
    going = ok(gemini("in_progress"))
    script = Script(ok(gemini("queued")), refused(400, "no stream"), going, going, ok(DONE))
    async with desk.asking(script, **ON) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert sum("stream" in a.path for a in script.asked) == 1


async def test_a_host_that_asks_for_a_pause_is_not_read_at_once(desk: Desk) -> None:
    script = Script(
        ok(gemini("queued")),
        refused(429, Retry_After="7"),
        stream(COMPLETED),
        ok(DONE),
    )
    async with desk.asking(script, **ON) as research:
        started = await research.start(QUERY, provider="gemini")
        assert await research.run_due() == 1
        assert await research.run_due() == 1
        waiting = await research.status(started.job.id)
        assert (waiting.attempts, len(script.asked)) == (1, 2)
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"


async def test_a_cancelled_job_is_not_followed(desk: Desk) -> None:
    ended = gemini("cancelled", usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok({}), ok(ended))
    async with desk.asking(script, **ON) as research:
        started = await research.start(QUERY, provider="gemini")
        assert await research.run_due() == 1
        await research.cancel(started.job.id)
        detail = await research.wait(started.job.id)
    assert detail.job.status == "cancelled"
    assert not any("stream" in a.path for a in script.asked)


async def test_without_a_stream_that_lasts_there_is_a_pause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def polled(research: Research, job: JobRow) -> Progress:
        known = research.providers_by_name()["gemini"]
        return await known.poll(job, now=research._now())  # pyright: ignore[reportPrivateUsage]

    going = ok(gemini("in_progress"))
    script = Script(
        ok(gemini("queued")), stream(end=True), going, stream(*GOES_ON, stall=True), going
    )
    async with desk.asking(script, **ON) as research:
        await research.start(QUERY, provider="gemini")
        await research.run_due()
        await desk.expire()
        (claim,) = await research.work().claim("w", limit=1, lease_s=60)
        async with desk.db.transaction() as conn:
            job = await claims.find_held(conn, claim.id, claim.token)
        assert job is not None
        # At its end at once: to ask again without a pause would be a loop.
        assert (await polled(research, job)).poll_after_s == 10
        monkeypatch.setattr(provider, "_FOLLOW_S", 0.5)
        lasted = await polled(research, replace(job, checkpoint={"last_event_id": "e 1&x=2"}))
    assert lasted.poll_after_s == 0
    assert lasted.checkpoint == {"last_event_id": "e5"}
    assert script.asked[3].path == f"{PLACE}?stream=true&last_event_id=e+1%26x%3D2"


async def test_events_of_any_shape_are_taken_in() -> None:
    async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def after(*parts: bytes) -> Following:
        found = Following()
        await found.read(chunks(*parts))
        return found

    split = await after(b'data: {"event_id": "a", "event_', b'type": "step.stop"}\n\ndata: {"ev')
    assert (split.last_event_id, split.events, split.ended) == ("a", 1, False)
    by_line = await after(b'id: b\ndata: {"event_type": "step.stop"}\n')
    assert by_line.last_event_id == "b"
    for data in (b"nonsense", b"[]", b'{"event_type": "error"}', b"[DONE]"):
        assert (await after(b"data:" + data + b"\n")).ended
    for status in ("completed", "failed", "budget_exceeded", "something new"):
        event = {"event_type": "interaction.status_update", "interaction": {"status": status}}
        assert (await after(b"data: " + json.dumps(event).encode() + b"\n")).ended
    for odd in ("x" * 501, "a\nb", 7, None):
        event = {"event_type": "step.stop", "event_id": odd}
        assert (await after(b"data: " + json.dumps(event).encode() + b"\n")).last_event_id is None
