"""Gemini against a server of its format: shapes, statuses, usage, the window of a start."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.research.servers import CUT, Answer, Script, ok, refused
from tests.research.shapes import GEMINI_USAGE, TEXT, gemini, gemini_steps

if TYPE_CHECKING:
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"
#: 100,000 + 1,000 of input, 150,000 cached, 50,000 of output, 42 searches.
COST = Decimal("0.202") + Decimal("0.03") + Decimal("0.6") + Decimal("0.588")


async def test_an_interaction_is_started_polled_and_priced(desk: Desk) -> None:
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok(gemini("in_progress")), ok(done), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini", budget_usd="3")
        assert await desk.month() == (0, 3)
        detail = await research.wait(started.job.id)
    first = script.asked[0]
    assert (first.method, first.path) == ("POST", "/v1beta/interactions")
    assert first.headers["x-goog-api-key"] == "key-of-gemini"
    assert first.body["agent"] == "deep-research-preview-04-2026"
    assert first.body["input"] == QUERY
    assert first.body["background"] is first.body["store"] is True
    assert first.body["agent_config"]["type"] == "deep-research"
    assert {(a.method, a.path) for a in script.asked[1:]} == {
        ("GET", "/v1beta/interactions/v1_int")
    }
    assert detail.job.status == "completed"
    assert detail.job.cost_usd == COST
    assert await desk.month() == await desk.month("default") == (COST, 0)
    (call,) = detail.calls
    assert (call.call_key, call.cost_usd, call.cost_source) == ("v1_int", COST, "prices")
    assert detail.markdown is not None
    assert "grows" in detail.markdown
    assert "Draft." not in detail.markdown


async def test_byte_indices_become_characters(desk: Desk) -> None:
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    async with desk.asking(Script(ok(gemini("queued")), ok(done))) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    (citation,) = detail.citations
    assert TEXT[citation.start_char : citation.end_char] == "grows" == citation.cited_text
    assert citation.verified
    assert citation.source_position == 1


async def test_a_citation_that_no_search_returned_is_not_verified(desk: Desk) -> None:
    steps = gemini_steps("It grows, says https://b.example/(two).", url="https://x.example/no")
    done = gemini(steps=steps, usage=GEMINI_USAGE)
    async with desk.asking(Script(ok(gemini("queued")), ok(done))) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    named = {(c.url, c.verified) for c in detail.citations}
    assert named == {("https://x.example/no", False), ("https://b.example/(two)", False)}
    assert detail.markdown is not None
    assert "Not verified" in detail.markdown


async def test_the_old_shape_is_read_too(desk: Desk) -> None:
    note = {"type": "url_citation", "source": "https://a.example/old", "start_index": 0,
            "end_index": 4}  # fmt: skip
    old = {
        "id": "v1_int",
        "status": "completed",
        "outputs": [
            {"type": "thought", "signature": "x"},
            {"type": "text", "text": "Older text.", "annotations": [note]},
        ],
        "usage": GEMINI_USAGE,
    }
    async with desk.asking(Script(ok(gemini("queued")), ok(old))) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.markdown is not None
    assert "Older text." in detail.markdown
    (citation,) = detail.citations
    assert (citation.url, citation.cited_text) == ("https://a.example/old", "Olde")
    # Where no result of a search is told, annotations are what the provider returns.
    assert citation.verified


async def test_usage_that_comes_later_is_read_again(desk: Desk) -> None:
    bare = gemini(steps=gemini_steps())
    full = {**bare, "usage": GEMINI_USAGE}
    script = Script(ok(gemini("queued")), ok(bare), ok(bare), ok(full))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.cost_usd == COST
    assert len(script.starts()) == 1


async def test_usage_that_never_comes_counts_what_was_kept_free(desk: Desk) -> None:
    bare = gemini(steps=gemini_steps())
    async with desk.asking(Script(ok(gemini("queued")), ok(bare))) as research:
        started = await research.start(QUERY, provider="gemini", budget_usd="4")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert detail.job.cost_usd is None
    assert detail.job.cost_detail is not None
    assert "no usage" in detail.job.cost_detail["uncertain"]
    assert await desk.month() == (4, 0)


@pytest.mark.parametrize(
    ("status", "with_text", "ends", "says"),
    [
        ("completed", True, "completed", None),
        ("completed", False, "failed", "without a report"),
        ("incomplete", True, "completed", "incomplete"),
        ("incomplete", False, "failed", "incomplete"),
        ("budget_exceeded", True, "completed", "budget_exceeded"),
        ("requires_continuation", True, "completed", "requires_continuation"),
        ("requires_continuation", False, "failed", "requires_continuation"),
        ("requires_action", True, "failed", "requires_action"),
        ("failed", False, "failed", "it broke"),
        ("cancelled", False, "cancelled", None),
    ],
)
async def test_every_status_ends_as_it_should(
    desk: Desk, status: str, with_text: bool, ends: str, says: str | None
) -> None:
    done = gemini(
        status,
        steps=gemini_steps() if with_text else [],
        usage=GEMINI_USAGE,
        errors=[{"code": "x", "message": "it broke"}] if status == "failed" else [],
    )
    script = Script(ok(gemini("queued")), ok(gemini("in_progress")), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.status == ends
    # Whatever the end, what was used is paid.
    assert detail.job.cost_usd == COST
    if says is not None:
        assert says in " ".join([detail.job.error or "", *detail.warnings])


@pytest.mark.parametrize(
    "answer",
    [
        CUT,
        Answer(cut="late", body=b'{"id": "v1_int", "status": "queued"}'),
        Answer(body=b"<html>"),
        Answer(body=b'{"status": "queued"}'),
        refused(504),
    ],
    ids=["cut", "cut late", "malformed", "without id", "gateway"],
)
async def test_a_start_without_an_answer_is_not_sent_again(desk: Desk, answer: Answer) -> None:
    script = Script(answer)
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini", budget_usd="4")
        detail = await research.wait(started.job.id)
    assert len(script.asked) == 1
    assert detail.job.status == "failed"
    assert detail.job.error_code == "research_start_unknown"
    assert detail.job.cost_usd is None
    # It may run and be charged: the budget takes it as spent.
    assert await desk.month() == (4, 0)


async def test_a_start_that_was_refused_is_sent_again_and_one_that_was_wrong_is_not(
    desk: Desk,
) -> None:
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    script = Script(
        refused(429, "slow down", Retry_After="7"), refused(503), ok(gemini("queued")), ok(done)
    )
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert len(script.starts()) == 3
    wrong = Script(refused(400, "bad agent"))
    async with desk.asking(wrong) as research:
        started = await research.start("Another question", provider="gemini")
        detail = await research.wait(started.job.id)
    assert len(wrong.asked) == 1
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_refused")
    assert detail.job.error is not None
    assert "bad agent" in detail.job.error
    # Nothing was taken on: nothing is spent.
    assert detail.job.cost_usd == 0
    assert (await desk.month())[1] == 0


async def test_polls_survive_cuts_errors_and_nonsense(desk: Desk) -> None:
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    script = Script(
        ok(gemini("queued")),
        CUT,
        refused(500),
        Answer(body=b'{"status": '),
        Answer(body=b"[]"),
        Answer(cut="late", body=b'{"status": "completed"}'),
        refused(429, Retry_After="Thu, 01 Jan 2026 00:00:00 GMT"),
        ok(done),
    )
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert len(script.starts()) == 1


async def test_an_interaction_that_is_gone_fails_and_counts_as_paid(desk: Desk) -> None:
    script = Script(ok(gemini("queued")), refused(404, "not found"))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini", budget_usd="4")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_gone")
    assert await desk.month() == (4, 0)


async def test_a_job_is_given_up_at_its_ceiling_and_ended_there(desk: Desk) -> None:
    ended = gemini("cancelled", usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok({}), ok(ended))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        assert await research.run_due() == 1
        async with desk.db.transaction() as conn:
            await conn.execute("UPDATE deep_briefing_jobs SET deadline_at = now()")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_ceiling")
    assert script.asked[1].path == "/v1beta/interactions/v1_int/cancel"
    assert detail.job.cost_usd == COST


async def test_cancel_ends_it_at_the_provider_and_reads_what_it_cost(desk: Desk) -> None:
    ended = gemini("cancelled", usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok({}), ok(ended))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        assert await research.run_due() == 1
        asked_for = await research.cancel(started.job.id)
        assert asked_for.status == "running"
        detail = await research.wait(started.job.id)
    assert [a.path.rpartition("/")[2] for a in script.asked[:2]] == ["interactions", "cancel"]
    assert (detail.job.status, detail.job.cost_usd) == ("cancelled", COST)


async def test_cancel_before_the_start_costs_nothing(desk: Desk) -> None:
    script = Script(ok(gemini("queued")))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        await research.cancel(started.job.id)
        detail = await research.wait(started.job.id)
        assert (await research.cancel(started.job.id)).status == "cancelled"
    assert script.asked == []
    assert (detail.job.status, detail.job.cost_usd) == ("cancelled", 0)
    assert await desk.month() == (0, 0)


async def test_a_refused_key_fails_the_start_and_is_not_shown(desk: Desk) -> None:
    script = Script(refused(401, "key-of-gemini is wrong"))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_key")
    assert detail.job.error is not None
    assert "key-of-gemini" not in detail.job.error
    assert "AEGIS_RESEARCH_GEMINI_API_KEY" in detail.job.error
    assert detail.job.cost_usd == 0
