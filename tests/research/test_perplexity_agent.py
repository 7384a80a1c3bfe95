"""Perplexity's Agent API against a server of its format: what is sent, paid, cancelled, cited."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from tests.research.servers import CUT, Script, ok, refused

if TYPE_CHECKING:
    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"
PATH = "/v1/responses"
TEXT = "It grows [1], they say."


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"id": "resp_1", "object": "response", "status": status}
    if status == "completed":
        document |= {
            "model": "sonar-deep-research",
            "output": [
                {
                    "type": "search_results",
                    "queries": ["growth"],
                    "results": [
                        {"url": "https://a.example/one", "title": "One", "date": "2026-10-01"},
                        {"url": "https://b.example/two", "title": "Two"},
                    ],
                },
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [
                        {
                            "type": "output_text",
                            "text": TEXT,
                            "annotations": [
                                {
                                    "type": "url_citation",
                                    "url": "https://a.example/one",
                                    "title": "One",
                                    "start_index": 9,
                                    "end_index": 12,
                                },
                                {"type": "url_citation", "url": "https://made-up.example/"},
                            ],
                        }
                    ],
                },
            ],
            "usage": {
                "input_tokens": 1_000,
                "output_tokens": 2_000,
                "total_tokens": 3_000,
                "cost": {"currency": "USD", "input_cost": 0.001, "total_cost": 0.1234567},
            },
        }
    return {**document, **more}


async def test_a_response_is_started_polled_and_costs_what_it_says(desk: Desk) -> None:
    script = Script(ok(response("queued")), ok(response("in_progress")), ok(response()))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(
            QUERY, provider="perplexity", options={"preset": "deep-research", "max_steps": 20}
        )
        detail = await research.wait(started.job.id)
    assert script.asked[0].path == PATH
    assert script.asked[0].body == {
        "preset": "deep-research",
        "input": QUERY,
        "background": True,
        "max_steps": 20,
    }
    assert (script.asked[1].method, script.asked[1].path) == ("GET", f"{PATH}/resp_1")
    assert detail.job.status == "completed"
    assert detail.job.cost_usd == Decimal("0.1234567")
    assert [s.url for s in detail.sources[:2]] == ["https://a.example/one", "https://b.example/two"]
    assert detail.sources[0].published == "2026-10-01"
    assert [(c.url, c.verified) for c in detail.citations] == [
        ("https://a.example/one", True),
        ("https://made-up.example/", False),
    ]


async def test_without_a_preset_the_model_is_asked_and_another_currency_is_no_cost(
    desk: Desk,
) -> None:
    usage = {"input_tokens": 10, "output_tokens": 10, "cost": {"currency": "EUR", "total_cost": 9}}
    script = Script(ok(response("queued")), ok(response(usage=usage)))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert script.asked[0].body == {
        "model": "sonar-deep-research", "input": QUERY, "background": True,
    }  # fmt: skip
    assert detail.calls[0].cost_source == "prices"
    assert detail.job.cost_usd is not None
    assert detail.job.cost_usd < 1


async def test_a_start_without_an_answer_is_not_sent_again(desk: Desk) -> None:
    # The API knows no key that would make the second start the first.
    script = Script(CUT, ok(response()))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_start_unknown")
    assert len(script.starts()) == 1


async def test_a_refused_start_is_sent_again(desk: Desk) -> None:
    script = Script(refused(503), refused(429), ok(response("queued")), ok(response()))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert len(script.starts()) == 3


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (response("failed", error={"code": "x", "message": "too long"}), "research_failed"),
        (response("requires_action"), "research_requires_action"),
        (response(output=[]), "research_empty"),
        (response(output="text"), "research_empty"),
    ],
)
async def test_what_ends_without_a_report_fails(
    desk: Desk, document: dict[str, Any], code: str
) -> None:
    script = Script(ok(response("queued")), ok(document))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(QUERY, provider="perplexity")
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", code)


async def test_cancel_ends_it_there_and_reads_what_it_cost(desk: Desk) -> None:
    usage = {"input_tokens": 10, "output_tokens": 10, "cost": {"total_cost": 0.5}}
    ended = response("cancelled", usage=usage)
    script = Script(ok(response("in_progress")), ok({}), ok(ended))
    async with desk.asking(script, research_perplexity_path=PATH) as research:
        started = await research.start(QUERY, provider="perplexity")
        assert await research.run_due() == 1
        await research.cancel(started.job.id)
        detail = await research.wait(started.job.id)
    assert (script.asked[1].method, script.asked[1].path) == ("POST", f"{PATH}/resp_1/cancel")
    assert (detail.job.status, detail.job.cost_usd) == ("cancelled", Decimal("0.5"))


@pytest.mark.parametrize(
    "options",
    [{"preset": ""}, {"max_steps": 101}, {"max_steps": True}, {"reasoning_effort": "high"}],
)
async def test_options_that_it_does_not_know_are_refused(
    desk: Desk, options: dict[str, Any]
) -> None:
    async with desk.asking(Script(ok({})), research_perplexity_path=PATH) as research:
        with pytest.raises(InvalidInput, match="Agent API takes preset"):
            await research.start(QUERY, provider="perplexity", options=options)
