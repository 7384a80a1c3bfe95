"""Claude against a server of its format: streams, pauses, failed searches, lost turns."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.research.servers import CUT, Answer, Script, events, ok, refused
from tests.research.shapes import claude_events, claude_turn

if TYPE_CHECKING:
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"
#: 10,000 × 3 + 1,000 × 15 + 2,000 × 0.3 a million, and 3 × 10 a thousand.
TURN = Decimal("0.03") + Decimal("0.015") + Decimal("0.0006") + Decimal("0.03")


@pytest.mark.parametrize("stream", ["on", "off"])
async def test_a_paused_turn_goes_on_with_its_content_unchanged(desk: Desk, stream: str) -> None:
    turns = [claude_turn(stop="pause_turn", number=1), claude_turn(number=2)]
    answers = [events(claude_events(t)) if stream == "on" else ok(t) for t in turns]
    script = Script(*answers)
    async with desk.asking(script, research_claude_stream=stream) as research:
        started = await research.start(QUERY, provider="claude")
        detail = await research.wait(started.job.id)
    first, second = script.asked
    assert (first.method, first.path) == ("POST", "/v1/messages")
    assert first.headers["x-api-key"] == "key-of-claude"
    assert first.headers["anthropic-version"] == "2023-06-01"
    assert first.body["tools"][0]["type"] == "web_search_20260318"
    assert first.body["stream"] is (stream == "on")
    assert second.body["messages"] == [
        {"role": "user", "content": QUERY},
        {"role": "assistant", "content": turns[0]["content"]},
    ]
    assert detail.job.status == "completed"
    assert [c.call_key for c in detail.calls] == ["msg_1", "msg_2"]
    assert detail.job.cost_usd == 2 * TURN == sum(c.cost_usd or 0 for c in detail.calls)
    assert await desk.month() == (2 * TURN, 0)
    assert [(c.url, c.verified) for c in detail.citations] == [
        ("https://a.example/one", True),
        ("https://invented.example/x", False),
    ]
    assert detail.markdown is not None
    assert "I will search" not in detail.markdown


async def test_a_failed_search_is_a_warning_with_http_200(desk: Desk) -> None:
    turn = claude_turn(error="max_uses_exceeded")
    async with desk.asking(Script(events(claude_events(turn)))) as research:
        started = await research.start(QUERY, provider="claude")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert "A search failed: max_uses_exceeded." in detail.warnings
    # Nothing was returned, so that nothing that is cited can be verified.
    assert {c.verified for c in detail.citations} == {False}


@pytest.mark.parametrize(
    ("stop", "ends", "says"),
    [
        ("max_tokens", "completed", "max_tokens"),
        ("model_context_window_exceeded", "completed", "model_context_window_exceeded"),
        ("refusal", "failed", "refuses"),
        ("tool_use", "failed", "tool"),
    ],
)
async def test_every_stop_reason_ends_as_it_should(
    desk: Desk, stop: str, ends: str, says: str
) -> None:
    async with desk.asking(Script(events(claude_events(claude_turn(stop=stop))))) as research:
        started = await research.start(QUERY, provider="claude")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.cost_usd) == (ends, TURN)
    assert says in " ".join([detail.job.error or "", *detail.warnings])


@pytest.mark.parametrize(
    "answer",
    [
        CUT,
        events(claude_events(claude_turn()), cut="late"),
        events(claude_events(claude_turn())[:-1]),
        Answer(body=b"data: nonsense\n\n"),
        events([claude_events(claude_turn())[0], {"type": "error", "error": {"message": "x"}}]),
    ],
    ids=["cut", "cut late", "without an end", "malformed", "error within"],
)
async def test_a_turn_without_its_end_is_not_sent_again(desk: Desk, answer: Answer) -> None:
    paused = events(claude_events(claude_turn(stop="pause_turn")))
    script = Script(paused, answer)
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude", budget_usd="2")
        detail = await research.wait(started.job.id)
    assert len(script.asked) == 2
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_start_unknown")
    # What the first turn cost is known; of the second, the budget is the most.
    assert [c.cost_usd for c in detail.calls] == [TURN]
    assert await desk.month() == (2, 0)


async def test_an_error_before_the_message_and_overload_are_tried_again(desk: Desk) -> None:
    script = Script(
        refused(529, "overloaded"),
        events([{"type": "error", "error": {"type": "overloaded_error"}}]),
        events(claude_events(claude_turn())),
    )
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert len(script.asked) == 3


async def test_pauses_without_an_end_have_a_ceiling(desk: Desk) -> None:
    paused = [events(claude_events(claude_turn(stop="pause_turn", number=n))) for n in range(30)]
    script = Script(*paused)
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude", budget_usd="5")
        detail = await research.wait(started.job.id)
    assert len(script.asked) == 20
    assert detail.job.status == "completed"
    assert "Claude ended early: pause_turn." in detail.warnings


async def test_the_next_turn_is_not_bought_beyond_the_budget(desk: Desk) -> None:
    dear = claude_turn(stop="pause_turn")
    dear["usage"]["output_tokens"] = 200_000
    script = Script(events(claude_events(dear)))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude", budget_usd="2")
        detail = await research.wait(started.job.id)
    assert len(script.asked) == 1
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_job_budget")
    assert detail.job.cost_usd == await desk.value("SELECT spent_usd FROM research_months LIMIT 1")


async def test_cancel_during_a_turn_ends_it_within_moments(desk: Desk) -> None:
    never = asyncio.Event()
    script = Script(Answer(after=never))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude", budget_usd="2")
        waiting = asyncio.create_task(research.wait(started.job.id))
        await script.requests(1)
        await research.cancel(started.job.id)
        detail = await asyncio.wait_for(waiting, 30)
        never.set()
    assert detail.job.status == "cancelled"
    # The turn may be charged.
    assert (detail.job.cost_usd, await desk.month()) == (None, (2, 0))
