"""Providers that take a request and say nothing more: no request waits for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.research.providers import claude
from aegis.research.providers.gemini import Gemini
from aegis.research.providers.perplexity import Perplexity
from tests.research.servers import Answer, Script, events, ok
from tests.research.shapes import (
    GEMINI_USAGE,
    claude_events,
    claude_turn,
    gemini,
    gemini_steps,
    perplexity,
    perplexity_response,
)

if TYPE_CHECKING:
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"
DONE: dict[str, Any] = {
    "gemini": gemini(steps=gemini_steps(), usage=GEMINI_USAGE),
    "perplexity": perplexity(response=perplexity_response()),
}
BEGUN: dict[str, Any] = {"gemini": gemini("queued"), "perplexity": perplexity("CREATED")}


@pytest.mark.parametrize("provider", [Gemini, Perplexity])
@pytest.mark.parametrize("begins", [False, True])
async def test_a_poll_that_hangs_is_given_up_and_asked_again(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    provider: type[Gemini | Perplexity],
    begins: bool,
) -> None:
    monkeypatch.setattr(provider, "ceilings", replace(provider.ceilings, request_s=0.3))
    name = provider.name
    never = asyncio.Event()
    silent = Answer(body=b'{"status": "comp', stall=True) if begins else Answer(after=never)
    script = Script(ok(BEGUN[name]), silent, ok(DONE[name]))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider=name)
        detail = await research.wait(started.job.id)
        never.set()
    assert detail.job.status == "completed"
    assert len(script.starts()) == 1


async def test_a_stream_that_falls_silent_is_no_answer_and_is_not_bought_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude, "_SILENCE_S", 0.3)
    told = claude_events(claude_turn())
    script = Script(events(told[: len(told) // 2], stall=True))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude", budget_usd="3")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_start_unknown")
    assert len(script.asked) == 1
    assert await desk.month() == (3, 0)
