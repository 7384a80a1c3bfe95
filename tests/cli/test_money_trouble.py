"""What goes wrong with keys, usage and bills, as a person at the command line meets it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Outcome, Shell

NOBODY = "00000000-0000-4000-8000-000000000000"


def issue(aegis: Shell, *arguments: str, customer: str = "acme") -> tuple[str, str]:
    done = aegis("keys", "issue", customer, *arguments, "--json")
    assert done.status == 0, done.err
    return done.json["key"], done.json["record"]["id"]


def event(event_id: str, **fields: Any) -> str:
    given = {
        "event_id": event_id, "customer_id": "acme", "endpoint": "/things/{id}", "method": "GET",
        "status_code": 200, **fields,
    }  # fmt: skip
    return json.dumps({name: value for name, value in given.items() if value is not None}) + "\n"


def refused(done: Outcome, status: int, said: str) -> None:
    """Hold that a command ended in one line that says what, which value, and what to do."""
    assert (done.status, done.out) == (status, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1, done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("issue", "acme", "--monthly-quota", "-1"), "monthly_quota is -1; use a whole number"),
        (("issue", "acme", "--limits", '{"t": {"limit": -1, "window_s": 60}}'), "limit is -1"),
        (("customers", "set", "acme", "--rate-limit", "-1"), "rate_limit is -1"),
        (("customers", "set", "acme", "--monthly-quota", "-1"), "monthly_quota is -1"),
        (("customers", "grant", "acme", "-1"), "-1… is no option; no number here may be below 0"),
        (("tiers", "set", "pro", "--rate-limit", "-1"), "rate_limit is -1"),
        (("tiers", "set", "pro", "--monthly-quota", "-1"), "monthly_quota is -1"),
        (("tiers", "set", "pro", "--rollover-limit", "-1"), "rollover_limit is -1"),
        (("tiers", "set", "pro", "--price-usd", "-1"), "price_usd is '-1'"),
        (("list", "--tier", "gold"), "tier is 'gold'"),
    ],
)
def test_limits_that_make_no_sense_are_refused_wherever_they_are_given(
    aegis: Shell, arguments: tuple[str, ...], said: str
) -> None:
    refused(aegis("keys", *arguments), 2, said)


def test_key_s_change_that_makes_no_sense_leaves_it_as_it_was(aegis: Shell) -> None:
    key, key_id = issue(aegis, "--monthly-quota", "10")
    assert aegis("keys", "verify", key, "--cost", "8").status == 0
    for arguments, said in (
        (("update", key_id, "--monthly-quota", "7"), "used 8 already; use 8 or more"),
        (("update", key_id, "--tier", "gold"), "tier is 'gold'"),
        (("update", key_id, "--rate-limit", "-1"), "rate_limit is -1"),
        (("expire", key_id, "2020-01-01T00:00:00+00:00"), "which is past"),
        (("grant", key_id, "-5"), "no number here may be below 0"),
        (("grant", key_id, "0"), "amount is 0"),
        (("rotate", key_id, "--grace", "-1"), "grace_s is -1"),
        (("verify", key, "--cost", "-1"), "cost is -1"),
    ):
        refused(aegis("keys", *arguments), 2, said)
    assert "8 used of 10" in aegis("keys", "show", key_id).out
    aegis("keys", "customers", "set", "acme", "--monthly-quota", "20")
    assert aegis("keys", "verify", key, "--cost", "2").status == 0
    refused(
        aegis("keys", "customers", "set", "acme", "--monthly-quota", "1"),
        2,
        "used 2 already; use 2 or more",
    )


def test_file_with_one_bad_event_records_nothing_and_names_it(aegis: Shell, tmp_path: Path) -> None:
    _, foreign = issue(aegis, customer="other")
    soon = (datetime.now(UTC) + timedelta(minutes=9)).isoformat()
    file = tmp_path / "events.jsonl"
    for fields, said in (
        ({"api_key_id": foreign}, f"customer_id is 'acme', but key {foreign} is another"),
        ({"api_key_id": NOBODY}, "no such key"),
        ({"created_at": soon}, "in the future; set the sender's clock"),
        ({"tokens_used": -1}, "tokens_used is -1"),
        ({"cost_usd": -0.01}, "cost_usd is '-0.01'"),
        ({"customer_id": None}, "say who pays"),
    ):
        file.write_text(event("good") + event("bad", **fields))
        refused(aegis("usage", "import", str(file)), 2, said)
    assert aegis("usage", "events", "--json").json["items"] == []
    kept = aegis("usage", "import", str(file), "--partial", "--json").json
    assert (kept["recorded"], [r["line"] for r in kept["rejected"]]) == (1, [2])


@pytest.fixture
def nowhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AEGIS_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/aegis")
    environment.setenv("AEGIS_CONNECT_TIMEOUT_S", "1")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("when_down", ["closed", "open"])
def test_no_verdict_without_the_database(
    aegis: Shell, environment: pytest.MonkeyPatch, when_down: str
) -> None:
    environment.setenv("AEGIS_KEYS_WHEN_DOWN", when_down)
    done = aegis("keys", "verify", "aegis_live_" + "x" * 49)
    assert done.status == 7
    assert "VALID" not in done.out
    assert len(done.err.splitlines()) == 1


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "command",
    [
        ("usage", "import"), ("billing", "run", "--month", "2026-01"),
        ("billing", "preview", "acme"), ("billing", "credit", "acme", "5.00", "--reason", "r"),
        ("billing", "stripe", "status"),
    ],
)  # fmt: skip
def test_database_that_is_down_is_one_line(
    aegis: Shell, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(event("a"))
    more = (str(file),) if command[1] == "import" else ()
    done = aegis(*command, *more)
    assert (done.status, done.out) == (7, "")
    assert len(done.err.splitlines()) == 1


def test_stripe_that_cannot_be_reached_is_said_and_nothing_is_lost(
    aegis: Shell, environment: pytest.MonkeyPatch
) -> None:
    refused(aegis("billing", "stripe", "sync"), 8, "Stripe needs AEGIS_STRIPE_API_KEY")
    environment.setenv("AEGIS_STRIPE_API_KEY", "sk_test_right")
    environment.setenv("AEGIS_STRIPE_API_BASE", "http://127.0.0.1:9")
    aegis("billing", "stripe", "link", "acme", "--mode", "invoices")
    done = aegis("billing", "stripe", "sync")
    assert (done.status, done.out) == (
        7, "1 new, 0 sent, 1 to be tried again, 0 refused, 1 waiting.\n",
    )  # fmt: skip
    assert done.err.count("Stripe cannot be reached") == 1
    assert "tried again by the next sync" in done.err
    assert "sk_test_right" not in done.err
    (row,) = aegis("billing", "stripe", "status", "--json").json["items"]
    assert (row["state"], row["attempts"]) == ("pending", 1)
    quiet = aegis("billing", "stripe", "sync", "--json")
    assert (quiet.status, quiet.json["waiting"], quiet.json["unreachable"]) == (0, 1, None)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("subscribe", "acme", "gold"), 3, "gold"),
        (("subscribe", "acme", "pro", "--to", "2020-01-01"), 2, "ends_on is 2020-01-01"),
        (("subscribe", "acme", "pro", "--from", "31.12.2026"), 2, "starts_on is no day"),
        (("subscribe", "acme", "pro", "--proration", "weekly"), 2, "proration is 'weekly'"),
        (("credit", "acme", "-5", "--reason", "r"), 2, "no number here may be below 0"),
        (("credit", "--reason", "r", "--", "acme", "-5"), 2, "amount_usd is '-5'"),
        (("credit", "acme", "0", "--reason", "r"), 2, "amount_usd is '0'"),
        (("credit", "acme", "0.001", "--reason", "r"), 2, "amount_usd is '0.001'"),
        (("credit", "acme", "5", "--reason", " "), 2, "reason is ' '"),
        (("takeback", "77", "--reason", "r"), 3, "There is no entry 77"),
        (("run", "--month", "2026-13"), 2, "month is '2026-13'"),
        (("run", "--month", "2199-01"), 4, "is not over"),
        (("preview", "nobody"), 3, "has no price"),
        (("account", "nobody"), 3, "There is no account"),
        (("invoice", "show", "77"), 3, "There is no invoice 77"),
        (("unsubscribe", "77"), 3, "There is no subscription 77"),
        (("stripe", "link", "acme", "--mode", "magic"), 2, "stripe_mode is 'magic'"),
        (("stripe", "link", "acme", "--stripe-customer", "me"), 2, "stripe_customer_id is 'me'"),
    ],
)
def test_bills_that_make_no_sense_end_in_a_line(
    aegis: Shell, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused(aegis("billing", *arguments), status, said)
