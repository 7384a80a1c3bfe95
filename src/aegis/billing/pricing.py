"""What months cost customers: who is on which plan, what they used, and what that comes to.

Reads in its caller's transaction; the price itself is `rating.py`'s, pure.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.billing.models import Plan, Usage
from aegis.billing.months import days_left, days_of, next_month, segments
from aegis.billing.rating import rate
from aegis.billing.store import accounts, metered, runs, usage
from aegis.billing.store import plans as plan_store
from aegis.billing.terms import derived_terms, read_terms, written
from aegis.errors import LimitExceeded
from aegis.keys.store.tiers import list_tiers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.billing.models import Line, Subscription, Terms
    from aegis.billing.months import Days
    from aegis.db import Connection

__all__ = ["Plans", "Rated", "derived_plans", "name_of", "price_months", "read_plans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A month of a customer with its price."""

    customer_id: str
    period: date
    #: As they are kept: days, plans and terms.
    segments: list[dict[str, Any]]
    lines: Sequence[Line]
    #: Why it has no price, or not all of it; None if it has.
    reason: str | None
    #: Whether the lines may be billed although there is a reason.
    priced: bool
    #: Whether Stripe's meters price days of it.
    metered: bool
    #: Whether a run has priced it before.
    known: bool


class Plans:
    """All plans, to look up the version that a month begins with."""

    def __init__(self, stored: Iterable[Plan], derived: Iterable[Plan]) -> None:
        self._stored: dict[str, list[Plan]] = defaultdict(list)
        for plan in stored:
            self._stored[plan.name].append(plan)
        self._derived = {plan.name: plan for plan in derived}

    def find(self, name: str, day: date) -> Plan | None:
        """Return the newest version that is valid on a day; a tier's, if nobody wrote one."""
        valid = [plan for plan in self._stored[name] if plan.valid_from <= day]
        if valid:
            return max(valid, key=lambda plan: plan.valid_from)
        return self._derived.get(name)


async def read_plans(conn: Connection) -> Plans:
    """Return all plans."""
    return Plans(await plan_store.list_plans(conn), await derived_plans(conn))


async def derived_plans(conn: Connection) -> list[Plan]:
    """Return what the tiers of keys cost, as plans of their names."""
    return [
        Plan(
            name=tier.name,
            version=0,
            valid_from=tier.updated_at.date(),
            terms=written(
                derived_terms(
                    price_usd=tier.price_usd,
                    monthly_quota=tier.monthly_quota,
                    overage_allowed=tier.overage_allowed,
                )
            ),
            created_at=None,
        )
        for tier in await list_tiers(conn)
    ]


async def price_months(
    conn: Connection, plans: Plans, customers: Sequence[str], months: Sequence[date]
) -> list[Rated]:
    """Return the price of months of customers; a month that was priced keeps its terms."""
    kept = {
        (row.customer_id, row.period): row.segments
        for row in await runs.list_priced(conn, customers, months)
    }
    spans: dict[str, list[Days]] = defaultdict(list)
    for span in await metered.list_spans(conn, customers):
        spans[span.customer_id].append((span.begins_on, span.ends_on))
    found = await _fresh_segments(conn, plans, customers, months, known=kept, spans=spans)
    everything = {**found, **kept}
    order = [(c, m) for c in customers for m in months]
    used = await _used(conn, {place: everything.get(place, []) for place in order}, spans)
    overage = {
        (row.customer_id, row.period): row.units
        for row in await usage.list_overage(conn, customers, months)
    }
    terms = _Terms()
    return [
        replace(
            _rated(place, everything.get(place, []), used[place], overage.get(place, 0), terms),
            metered=_is_metered(place[1], spans[place[0]]),
            known=place in kept,
        )
        for place in order
    ]


#: Usage of a month: of each segment, and of the days that no segment has.
_UsedOfMonth = tuple[list[list[Usage]], list[Usage]]
_Place = tuple[str, date]


async def _fresh_segments(
    conn: Connection,
    plans: Plans,
    customers: Sequence[str],
    months: Sequence[date],
    *,
    known: dict[_Place, list[dict[str, Any]]],
    spans: Mapping[str, Sequence[Days]],
) -> dict[_Place, list[dict[str, Any]]]:
    """Return the segments of months that were not priced yet, with the terms that hold now."""
    by_customer: dict[str, list[Subscription]] = defaultdict(list)
    for one in await accounts.list_subscriptions(conn, customers=customers, limit=None, offset=0):
        by_customer[one.customer_id].append(one)
    tiers = {
        (row.customer_id, row.period): row.tier
        for row in await usage.list_tiers_of(conn, customers, months)
    }
    found: dict[_Place, list[dict[str, Any]]] = {}
    for customer in customers:
        for month in months:
            place = (customer, month)
            if place in known:
                continue
            without = spans.get(customer, ())
            parts = [
                (s.plan, s.begins_on, s.ends_on, s.part)
                for s in segments(month, by_customer[customer], without)
            ]
            if place in tiers and not segments(month, by_customer[customer]):
                left = days_left(month, next_month(month), without)
                whole = left == [(month, next_month(month))]
                parts = [(tiers[place], *days, Decimal(1) if whole else None) for days in left]
            shared = {"metered": True} if _is_metered(month, without) else {}
            found[place] = [_segment(plans, *part) | shared for part in parts]
    return found


def _is_metered(month: date, spans: Sequence[Days]) -> bool:
    """Tell whether Stripe's meters price days of a month."""
    end = next_month(month)
    return days_left(month, end, spans) != [(month, end)]


def _segment(
    plans: Plans, name: str, begins_on: date, ends_on: date, part: Decimal | None
) -> dict[str, Any]:
    plan = plans.find(name, begins_on)
    return {
        "plan": name,
        # Of a tier of keys there is only what holds now.
        "version": None if plan is None else plan.version,
        "begins_on": begins_on.isoformat(),
        "ends_on": ends_on.isoformat(),
        "part": None if part is None else str(part),
        "terms": None if plan is None else dict(plan.terms),
    }


async def _used(
    conn: Connection,
    months: dict[_Place, list[dict[str, Any]]],
    spans: Mapping[str, Sequence[Days]],
) -> dict[_Place, _UsedOfMonth]:
    """Return what was used in each segment of each month, and on days that nobody prices."""
    stretches: list[tuple[_Place, int | None, date, date]] = []
    for place, parts in months.items():
        customer, month = place
        planned = [_days(part) for part in parts]
        stretches += [(place, number, *days) for number, days in enumerate(planned)]
        for begins, ends in days_left(month, next_month(month), planned):
            left = days_left(begins, ends, spans.get(customer, ()))
            stretches += [(place, None, *days) for days in left]
    found: dict[_Place, _UsedOfMonth] = {
        place: ([[] for _ in parts], []) for place, parts in months.items()
    }
    rows = await usage.list_used(
        conn,
        customers=[place[0] for place, _, _, _ in stretches],
        begins=[begins for _, _, begins, _ in stretches],
        ends=[ends for _, _, _, ends in stretches],
    )
    for row in rows:
        place, number, _, _ = stretches[row.stretch]
        inside, outside = found[place]
        target = outside if number is None else inside[number]
        target.append(
            Usage(endpoint=row.endpoint, calls=row.calls, tokens=row.tokens, cost=row.cost)
        )
    return found


def _rated(
    place: _Place, parts: list[dict[str, Any]], used: _UsedOfMonth, overage: int, terms: _Terms
) -> Rated:
    customer, month = place
    inside, outside = used
    lines: list[Line] = []
    reason = None
    # The ledger counts by the month: which of it came on days of Stripe's it does not know.
    shared = any(part.get("metered") for part in parts)
    for number, part in enumerate(parts):
        read = terms.read(part)
        if read is None:
            reason = f"plan {part['plan']} has no version that is valid on {part['begins_on']}"
            break
        begins, ends = _days(part)
        try:
            lines += rate(
                read,
                inside[number],
                key=f"{number}:",
                plan=name_of(part),
                days=(ends - begins).days,
                month_days=days_of(month),
                part=None if part["part"] is None else Decimal(part["part"]),
                # What was above the quota goes to the month's last plan.
                overage=overage if number == len(parts) - 1 and not shared else 0,
            )
        except LimitExceeded as error:
            reason = error.message
            break
    priced = reason is None
    if reason is None and outside:
        calls = sum(one.calls for one in outside)
        days = "on days without a plan" if parts else "and there is no plan, nor a key with a tier"
        reason = f"{calls:,} calls were used {days}"
        priced = bool(parts)
    elif reason is None and shared and overage:
        reason = (
            f"{overage:,} calls above the quota were accepted in a month that Stripe's meters "
            "price a part of; if they are to be paid, add them at Stripe"
        )
    return Rated(
        customer_id=customer,
        period=month,
        segments=parts,
        lines=lines if priced else [],
        reason=reason,
        priced=priced,
        metered=False,
        known=False,
    )


class _Terms:
    """Terms read once, however many customers have them."""

    def __init__(self) -> None:
        self._read: dict[str, Terms] = {}

    def read(self, part: dict[str, Any]) -> Terms | None:
        raw = part["terms"]
        if raw is None:
            return None
        text = json.dumps(raw, sort_keys=True)
        if text not in self._read:
            self._read[text] = read_terms(raw)
        return self._read[text]


def _days(part: dict[str, Any]) -> tuple[date, date]:
    return date.fromisoformat(part["begins_on"]), date.fromisoformat(part["ends_on"])


def name_of(part: dict[str, Any]) -> str:
    """Return the plan of a segment as customers read it: `pro v2`, or a tier's name."""
    version = part["version"]
    return f"{part['plan']} v{version}" if version else str(part["plan"])
