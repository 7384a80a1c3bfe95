"""Months, and which of their days belong to which plan."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.billing.models import Subscription
from aegis.billing.months import before, days_of, next_month, read_month, segments
from aegis.errors import InvalidInput


def on(plan: str, starts: str, ends: str | None, proration: Any = "daily") -> Subscription:
    return Subscription(
        id=1, customer_id="c", plan=plan, starts_on=date.fromisoformat(starts),
        ends_on=None if ends is None else date.fromisoformat(ends), proration=proration,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def found(*subscriptions: Subscription) -> list[tuple[str, int, int, Decimal | None]]:
    return [
        (s.plan, s.begins_on.day, (s.ends_on - date(2026, 10, 1)).days, s.part)
        for s in segments(date(2026, 10, 1), subscriptions)
    ]


def test_days_go_to_the_plan_that_they_were_spent_on() -> None:
    assert found(on("b", "2026-10-16", None), on("a", "2026-09-02", "2026-10-16")) == [
        ("a", 1, 15, None), ("b", 16, 31, None),
    ]  # fmt: skip
    assert found(on("a", "2026-01-01", None)) == [("a", 1, 31, Decimal(1))]
    assert found(on("a", "2026-01-01", "2026-10-01"), on("b", "2026-11-01", None)) == []
    assert found(on("a", "2026-10-31", None, "full")) == [("a", 31, 31, Decimal(1))]
    assert found(on("a", "2026-10-31", None, "none")) == [("a", 31, 31, Decimal(0))]


@given(st.dates(date(2001, 1, 1), date(2190, 1, 1)), st.integers(0, 40))
def test_months_go_forward_and_back(day: date, count: int) -> None:
    month = day.replace(day=1)
    assert (next_month(month) - month).days == days_of(month)
    back = before(month, count)
    for _ in range(count):
        back = next_month(back)
    assert back == month == read_month(f"{day:%Y-%m}") == read_month(day)


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "1999-01", "2026-10-01", "", None, 5, "٢٠٢٦-10"]
)
def test_what_is_no_month_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput, match="write it as 2026-10"):
        read_month(text)
