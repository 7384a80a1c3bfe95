"""Invoices: numbers without gaps, states, credits, and what hostile names look like on paper."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.billing.allocation import allocate
from aegis.billing.documents import invoice_html, invoices_csv
from aegis.billing.models import Invoice, InvoiceLine
from aegis.billing.store.entries import OpenEntry
from aegis.errors import Conflict
from tests.billing.conftest import LATER, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.billing import Billing
    from aegis.db import Database


async def drafts(billing: Billing, db: Database, count: int) -> list[int]:
    for number in range(count):
        await subscribed(billing, f"c{number:02}")
        await use(db, f"c{number:02}", "2026-10-05", 100)
    await billing.run("2026-10", now=LATER)
    return [i.id for i in await billing.invoices.list(limit=1000)]


async def test_numbers_have_no_gaps_whoever_gives_them(billing: Billing, db: Database) -> None:
    ids = await drafts(billing, db, 12)
    done = await asyncio.gather(
        *(billing.invoices.finalize(i) for i in [*ids, *ids]), return_exceptions=True
    )
    assert sum(isinstance(d, Conflict) for d in done) == 12
    await billing.invoices.void(ids[3])
    numbers = sorted(str(i.number) for i in await billing.invoices.list())
    year = datetime.now(UTC).year
    assert numbers == [f"{year}-{n:06d}" for n in range(1, 13)]


async def test_month_is_finalized_once(billing: Billing, db: Database) -> None:
    await drafts(billing, db, 5)
    done = await asyncio.gather(*(billing.invoices.finalize_month("2026-10") for _ in range(3)))
    assert sum(done) == 5


async def test_states_go_one_way(billing: Billing, db: Database) -> None:
    (one,) = await drafts(billing, db, 1)
    for early in (billing.invoices.mark_sent, billing.invoices.mark_paid):
        with pytest.raises(Conflict, match="is draft"):
            await early(one)
    await billing.invoices.finalize(one)
    assert (await billing.invoices.mark_sent(one)).state == "sent"
    assert (await billing.invoices.mark_paid(one)).paid_at is not None
    for late in (
        billing.invoices.mark_sent, billing.invoices.void, billing.invoices.finalize,
    ):  # fmt: skip
        with pytest.raises(Conflict, match="is paid"):
            await late(one)


async def test_void_invoice_is_replaced_with_the_same_entries(
    billing: Billing, db: Database
) -> None:
    (one,) = await drafts(billing, db, 1)
    await billing.credit("c00", "0.40", reason="Sorry")
    await billing.invoices.void(one)
    await billing.run("2026-10", now=LATER)
    newest = (await billing.invoices.list(state="draft"))[0]
    assert newest.total_usd == Decimal("0.60")
    assert await rows(db, "SELECT count(*)::int FROM billing_events") == [(2,)]


async def test_names_are_those_of_the_day_it_became_final(billing: Billing, db: Database) -> None:
    (one,) = await drafts(billing, db, 1)
    await billing.set_account("c00", name="Old", address="Street 1\nTown")
    await billing.invoices.finalize(one)
    await billing.set_account("c00", name="New")
    page = billing.invoices.html(await billing.invoices.get(one))
    assert "Old" in page and "New" not in page


async def test_credit_is_given_once_a_key_and_taken_back_to_its_end(billing: Billing) -> None:
    given_ = await asyncio.gather(
        *(billing.credit("acme", "10.00", reason="r", key="k") for _ in range(5))
    )
    assert len({entry.id for entry in given_}) == 1
    credit = given_[0].id
    with pytest.raises(Conflict) as used:
        await billing.credit("acme", "11.00", reason="r", key="k")
    assert used.value.code == "key_used"
    done = await asyncio.gather(
        *(billing.take_back(credit, "4.00", reason="r", key=f"t{n}") for n in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(d, Conflict) for d in done) == 2
    assert await billing.balance("acme") == Decimal("-2.00")
    assert (await billing.take_back(credit, reason="r")).amount_usd == Decimal("2.00")
    with pytest.raises(Conflict):
        await billing.take_back(credit, reason="r", key="more")
    taken = (await billing.entries(limit=1))[0]
    with pytest.raises(Conflict, match="no credit"):
        await billing.take_back(taken.id, reason="r")
    assert await billing.balance("acme") == 0


AMOUNTS = st.lists(st.integers(-(10**6), 10**6).map(lambda c: Decimal(c) / 100), max_size=12)


@given(AMOUNTS)
def test_invoice_takes_what_is_owed_and_of_credits_what_it_can(amounts: list[Decimal]) -> None:
    entries = [
        OpenEntry(id=n, customer_id="c", event_type="credit" if a < 0 else "api_usage",
                  period=None, description="d", quantity=None, open_usd=a)
        for n, a in enumerate(amounts)
    ]  # fmt: skip
    made = allocate("c", entries)
    owed = sum((a for a in amounts if a > 0), Decimal(0))
    if not owed:
        assert made is None
        return
    assert made is not None
    assert made.total_usd == sum((x.amount_usd for x in made.lines), Decimal(0)) >= 0
    assert made.total_usd == max(owed + sum(a for a in amounts if a < 0), 0)
    taken = {x.event_id: x.amount_usd for x in made.lines}
    for n, a in enumerate(amounts):
        assert taken.get(n, Decimal(0)) == a if a >= 0 else a <= taken.get(n, 0) <= 0


def invoice(name: str, text: str = "Calls", customer: str = "acme") -> Invoice:
    return Invoice(
        id=1, customer_id=customer, period=date(2026, 10, 1), number="2026-000001",
        state="final", currency="USD", total_usd=Decimal("1234.50"), customer_name=name,
        customer_address="A & B\n<i>2</i>", due_on=date(2026, 11, 15),
        created_at=LATER, finalized_at=LATER, sent_at=None, paid_at=None, voided_at=None,
        stripe_invoice_id=None, stripe_status=None,
        lines=[
            InvoiceLine(position=1, event_id=1, kind="api_usage", description=text,
                        quantity=Decimal("1234567.500000"), amount_usd=Decimal("1235.50")),
            InvoiceLine(position=2, event_id=2, kind="credit", description="Sorry",
                        quantity=None, amount_usd=Decimal("-1.00")),
        ],
    )  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert all(not name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    return parser


PLAIN = read(invoice_html(invoice("Acme"))).tags


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>", "</b></main><h1>Paid", '" onload="x', "&lt;b&gt;", "{}%s",
        "<!--", "]]>", "\u202eTxt.exe", "<style>*{display:none}</style>",
    ],
)  # fmt: skip
def test_hostile_names_are_text_and_nothing_else(name: str) -> None:
    page = invoice_html(invoice(name, name, name), seller=f"{name}|Line 2")
    found = read(page)
    assert found.tags == PLAIN
    shown = "".join(found.text)
    assert shown.count(name.replace("\u202e", "")) >= 3
    assert "\u202e" not in page


@given(st.text(max_size=40))
def test_any_name_leaves_the_page_whole(name: str) -> None:
    assert read(invoice_html(invoice(name or "x", name, name or "x"))).tags == PLAIN


def test_page_shows_amounts_as_people_write_them() -> None:
    shown = read(invoice_html(invoice("Acme"), seller="Us|Street")).text
    assert {"1,234.50", "1,235.50", "−1.00", "1,234,567.5", "2026-11-15"} <= set(shown)


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", '=HYPERLINK("http://x","y")'],
)
def test_cell_of_csv_is_never_a_formula(name: str) -> None:
    text = invoices_csv([invoice(name, name, name)])
    (first, second) = csv.DictReader(io.StringIO(text, newline=""))
    for field in ("customer_name", "customer_id", "description"):
        assert first[field] == f"'{name}"
    # Numbers stay numbers, also those below 0.
    assert (first["quantity"], second["amount_usd"]) == ("1234567.5", "-1.00")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_csv_reads_back_to_what_was_written(name: str) -> None:
    rows_ = list(csv.DictReader(io.StringIO(invoices_csv([invoice(name)]), newline="")))
    assert len(rows_) == 2
    assert rows_[0]["customer_name"].removeprefix("'") == name.removeprefix("'")
