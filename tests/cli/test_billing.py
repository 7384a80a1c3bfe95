"""`aegis billing`."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.billing.months import before

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

TERMS = (
    '{"flat_usd": "29.00", "charges": [{"name": "Calls", "meter": "calls", "included": 100, '
    '"unit_usd": "0.01"}]}'
)
LAST = before(datetime.now(UTC).date().replace(day=1), 1)
MONTH = f"{LAST:%Y-%m}"


@pytest.fixture
def used(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "INSERT INTO usage_daily (day, customer_id, endpoint, method, calls) "
            "VALUES (%s, 'acme', '/a', 'GET', 350)",
            (LAST,),
        )


def begin(aegis: Shell) -> None:
    added = aegis("billing", "plans", "add", "basic", TERMS, "--from", "2026-01-01")
    assert (added.status, added.out) == (0, "Plan basic v1, valid from 2026-01-01.\n"), added.err
    done = aegis("billing", "subscribe", "acme", "basic", "--from", "2026-01-01")
    assert done.status == 0, done.err


def test_from_a_plan_to_a_paid_invoice(aegis: Shell, used: None) -> None:
    begin(aegis)
    assert "basic" in aegis("billing", "plans", "list").out
    assert "acme" in aegis("billing", "subscriptions").out
    seen = aegis("billing", "preview", "acme", "--month", MONTH)
    assert "Total 31.50 USD, 0 billed." in seen.out
    dry = aegis("billing", "run", "--month", MONTH, "--dry-run")
    assert f"{MONTH}: 1 customers would be billed, 2 entries of 31.50 USD" in dry.out
    assert aegis("billing", "invoices", "--json").json["items"] == []
    run = aegis("billing", "run", "--month", MONTH, "--finalize", "--json").json
    assert (run["amount_usd"], run["invoices"], run["finalized"]) == ("31.50", 1, 1)
    again = aegis("billing", "run", "--month", MONTH, "--finalize", "--json").json
    assert (again["entries"], again["finalized"]) == (0, 0)
    (one,) = aegis("billing", "invoices", "--json").json["items"]
    assert (one["state"], one["number"]) == ("final", f"{datetime.now(UTC):%Y}-000001")
    number = str(one["id"])
    assert "31.50" in aegis("billing", "invoices").out
    assert "Total 31.50 USD" in aegis("billing", "invoice", "show", number).out
    page = aegis("billing", "invoice", "show", number, "--format", "html").out
    assert page.startswith("<!DOCTYPE html>") and "31.50" in page
    table = list(csv.DictReader(io.StringIO(
        aegis("billing", "invoice", "show", number, "--format", "csv").out
    )))  # fmt: skip
    assert [(r["quantity"], r["amount_usd"]) for r in table] == [("", "29.00"), ("350", "2.50")]
    assert aegis("billing", "invoice", "sent", number).out.endswith("is sent.\n")
    assert aegis("billing", "invoice", "paid", number, "--json").json["state"] == "paid"
    assert aegis("billing", "invoice", "void", number, "--yes").status == 4
    assert "subscription" in aegis("billing", "entries", "--customer", "acme").out
    assert MONTH in aegis("billing", "runs").out


def test_credit_is_given_taken_and_taken_back(aegis: Shell, used: None) -> None:
    begin(aegis)
    given = aegis(
        "billing", "credit", "acme", "40.00", "--reason", "Outage", "--key", "k", "--json"
    )
    assert given.json["amount_usd"] == "-40.00"
    again = aegis(
        "billing", "credit", "acme", "40.00", "--reason", "Outage", "--key", "k", "--json"
    )
    assert again.json["id"] == given.json["id"]
    number = str(given.json["id"])
    assert "2.50 USD" in aegis(
        "billing", "takeback", number, "--amount", "2.50", "--reason", "Too much"
    ).out  # fmt: skip
    run = aegis("billing", "run", "--month", MONTH, "--finalize", "--json").json
    assert run["invoiced_usd"] == "0.00"
    shown = aegis("billing", "account", "acme", "--name", "Acme", "--address", "A|B", "--json").json
    assert (shown["open_usd"], shown["address"]) == ("-6.00", "A\nB")
    assert "open_usd" in aegis("billing", "account", "acme").out


def test_stripe_without_a_key_says_so_and_the_rest_works(aegis: Shell) -> None:
    refused = aegis("billing", "stripe", "sync")
    assert (refused.status, "stripe_not_configured" in refused.err) == (8, True)
    assert "by: meters" in aegis("billing", "stripe", "link", "acme", "--mode", "meters").out
    assert aegis("billing", "stripe", "status", "--json").json["items"] == []
    assert aegis("billing", "stripe", "retry", "--json").json == {"retried": 0}


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("plans", "add", "b", "{"), 2, "terms is not JSON"),
        (("plans", "add", "b", '{"flat_usd": 1.5}'), 2, "flat_usd is 1.5"),
        (("subscribe", "acme", "nothing"), 3, "There is no plan 'nothing'"),
        (("subscribe", "acme", "pro", "--from", "tomorrow"), 2, "starts_on is no day"),
        (("subscribe", "acme", "pro", "--proration", "half"), 2, "proration is 'half'"),
        (("preview", "nobody"), 3, "nor a key with a tier"),
        (("run", "--month", "October"), 2, "month is 'October'"),
        (("run", "--month", "2199-01"), 4, "is not over"),
        (("invoices", "--state", "lost"), 2, "state is 'lost'"),
        (("invoice", "show", "7"), 3, "There is no invoice 7"),
        (("invoice", "show", "7", "--format", "pdf"), 2, "format is 'pdf'"),
        (("invoice", "finalize", "0"), 3, "There is no invoice 0"),
        (("credit", "acme", "-5", "--reason", "x"), 2, "no number here may be below 0"),
        (("credit", "acme", "0.001", "--reason", "x"), 2, "amount_usd is '0.001'"),
        (("takeback", "9", "--reason", "x"), 3, "There is no entry 9"),
        (("unsubscribe", "9"), 3, "There is no subscription 9"),
        (("account", "nobody"), 3, "There is no account"),
        (("account", "acme", "--email", "x"), 2, "email is 'x'"),
        (("stripe", "link", "acme", "--mode", "maybe"), 2, "stripe_mode is 'maybe'"),
        (("stripe", "link", "acme", "--stripe-customer", "x"), 2, "stripe_customer_id is 'x'"),
    ],
)
def test_what_makes_no_sense_ends_in_a_line(
    aegis: Shell, arguments: tuple[str, ...], status: int, line: Any
) -> None:
    done = aegis("billing", *arguments)
    assert (done.status, done.out) == (status, ""), done
    assert line in done.err
