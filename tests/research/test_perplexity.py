"""Perplexity against a server of its format: both paths, given costs, marks, the same key again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from aegis.errors import InvalidInput
from tests.research.servers import CUT, Answer, Script, ok, refused
from tests.research.shapes import perplexity, perplexity_response

if TYPE_CHECKING:
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"


@pytest.mark.parametrize("path", ["/v1/async/sonar", "/async/chat/completions"])
async def test_a_job_is_sent_polled_and_costs_what_it_says(desk: Desk, path: str) -> None:
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok(perplexity("IN_PROGRESS")), ok(done))
    async with desk.asking(script, research_perplexity_path=path) as research:
        started = await research.start(
            QUERY, provider="perplexity", options={"reasoning_effort": "high"}
        )
        detail = await research.wait(started.job.id)
    first = script.asked[0]
    assert (first.method, first.path) == ("POST", path)
    assert first.headers["authorization"] == "Bearer key-of-perplexity"
    assert first.body["idempotency_key"] == started.job.id
    assert first.body["request"]["messages"] == [{"role": "user", "content": QUERY}]
    assert first.body["request"]["reasoning_effort"] == "high"
    assert script.asked[1].path == f"{path}/pplx_1"
    # Exactly as it was written, which a binary fraction would not be.
    assert detail.job.cost_usd == Decimal("0.4040401")
    assert detail.calls[0].cost_source == "provider"
    assert await desk.value("SELECT cost_usd FROM deep_briefing_jobs") == Decimal("0.4040")


async def test_marks_name_sources_and_thoughts_are_left_out(desk: Desk) -> None:
    done = perplexity(response=perplexity_response())
    async with desk.asking(Script(ok(perplexity("CREATED")), ok(done))) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert detail.markdown is not None
    assert "secret" not in detail.markdown
    assert [(c.url, c.source_position, c.verified) for c in detail.citations] == [
        ("https://a.example/one", 1, True),
        ("https://b.example/two", 2, True),
        (None, None, False),
    ]
    assert detail.sources[0].published == "2026-10-01"


async def test_an_answer_without_search_results_and_cost_is_priced_by_the_table(
    desk: Desk,
) -> None:
    done = perplexity(response=perplexity_response(old=True, cost=False))
    async with desk.asking(Script(ok(perplexity("CREATED")), ok(done))) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert [s.url for s in detail.sources] == ["https://a.example/one", "https://b.example/two"]
    # 20 × 2 + 3,000 × 8 + 40,000 × 2 + 70,000 × 3 a million, and 18 × 5 a thousand.
    expected = Decimal("0.00004") + Decimal("0.024") + Decimal("0.08") + Decimal("0.21")
    assert detail.job.cost_usd == expected + Decimal("0.09")
    assert detail.calls[0].cost_source == "prices"


@pytest.mark.parametrize(
    "answer", [CUT, Answer(body=b"oops"), refused(502)], ids=["cut", "malformed", "gateway"]
)
async def test_a_start_without_an_answer_is_sent_again_under_the_same_key(
    desk: Desk, answer: Answer
) -> None:
    done = perplexity(response=perplexity_response())
    script = Script(answer, answer, ok(perplexity("CREATED")), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert {a.body["idempotency_key"] for a in script.starts()} == {started.job.id}
    assert len(script.starts()) == 3


async def test_a_provider_that_never_answers_is_given_up(desk: Desk) -> None:
    script = Script(refused(503))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_unavailable")
    assert len(script.asked) == 10
    assert detail.job.cost_usd == 0


async def test_failed_and_empty_jobs_fail(desk: Desk) -> None:
    failed = perplexity("FAILED", error_message="no\nluck")
    async with desk.asking(Script(ok(perplexity("CREATED")), ok(failed))) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error) == ("failed", "Perplexity failed: no luck")
    empty = perplexity(response={"choices": "?"})
    async with desk.asking(Script(ok(perplexity("CREATED")), ok(empty))) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_empty")


async def test_what_cannot_be_ended_there_is_read_to_its_end(desk: Desk) -> None:
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok(perplexity("IN_PROGRESS")), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        assert await research.run_due() == 1
        await research.cancel(started.job.id)
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.cost_usd) == ("cancelled", Decimal("0.4040401"))
    assert [a.method for a in script.asked] == ["POST", "GET", "GET"]


async def test_unknown_options_are_refused(desk: Desk) -> None:
    async with desk.asking(Script(ok({}))) as research:
        with pytest.raises(InvalidInput, match="reasoning_effort"):
            await research.start(QUERY, provider="perplexity", options={"effort": "high"})
