"""`aegis research …`: a report as Markdown, jobs, budgets and prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def test_memory_is_asked_and_the_report_is_markdown(aegis: Shell) -> None:
    aegis("memory", "record", "learning", "The nightly report failed: disk full")
    told = aegis("research", "start", "What of the nightly report?", "-p", "local", "--wait")
    assert told.status == 0, told.err
    assert told.out.startswith("# What of the nightly report?")
    assert "disk full [e1]" in told.out
    (job,) = aegis("research", "list", "--json").json["items"]
    assert (job["status"], job["provider"], job["cost_usd"]) == ("completed", "local", "0")
    shown = aegis("research", "show", job["id"])
    assert "0 not verified" in shown.out
    assert aegis("research", "show", job["id"], "-m").out == told.out
    assert aegis("research", "watch", job["id"]).out == told.out
    assert "completed" in aegis("research", "cancel", job["id"]).out
    assert aegis("research", "delete", job["id"], "--yes").status == 0
    assert aegis("research", "show", job["id"]).status != 0


def test_budgets_and_prices_are_set_and_shown(aegis: Shell) -> None:
    assert "12.50" in aegis("research", "budget", "--set", "12.5").out
    assert aegis("research", "budget", "--set", "none", "--json").json["items"][1]["limit_usd"] is (
        None
    )
    price = ("gemini", "deep-research", "searches", "14", "--per", "1000", "--source", "list")
    assert "14 USD for 1,000" in aegis("research", "prices", "set", *price).out
    listed = aegis("research", "prices", "list", "--provider", "gemini", "--json").json["items"]
    assert [(p["meter"], p["usd"]) for p in listed] == [("searches", "14")]
    assert "perplexity" in aegis("research", "providers").out


def test_what_cannot_be_bought_is_said_in_one_line(aegis: Shell) -> None:
    refused = aegis("research", "start", "Q", "-p", "gemini", "--wait")
    assert refused.status != 0
    assert "AEGIS_RESEARCH_GEMINI_API_KEY" in refused.err
    assert refused.err.count("\n") == 1
    assert aegis("research", "start", "Q", "--budget", "much", "-p", "local").status != 0
    assert aegis("research", "prices", "set", "gemini", "m", "words", "1", "--source", "s").status
