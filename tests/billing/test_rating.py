"""What usage costs: exact, rounded once a line, and the same whichever way it is added up."""

from __future__ import annotations

import ast
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aegis.billing
from aegis.billing.models import Charge, Usage
from aegis.billing.rating import cents, matches, price, rate
from aegis.billing.terms import derived_terms, read_money, read_terms, written
from aegis.errors import InvalidInput, LimitExceeded

TIERS = [
    {"up_to": 100, "unit_usd": "0.10"},
    {"up_to": 1000, "unit_usd": "0.05", "flat_usd": "2.00"},
    {"up_to": None, "unit_usd": "0.011"},
]


def charge(**fields: Any) -> Charge:
    return read_terms({"charges": [{"name": "c", "meter": "calls", **fields}]}).charges[0]


def used(calls: int = 0, *, endpoint: str = "/a", tokens: int = 0, cost: str = "0") -> Usage:
    return Usage(endpoint=endpoint, calls=calls, tokens=tokens, cost=Decimal(cost))


UNITS = st.integers(0, 10**12)
PRICES = st.decimals(0, 100, places=10).map(lambda d: format(d, "f"))
STEPS = st.lists(st.tuples(st.integers(1, 10**6), PRICES), min_size=0, max_size=6)


@st.composite
def tiered(draw: st.DrawFn, model: str, *, rising: bool = False) -> Charge:
    steps, end, tiers = draw(STEPS), 0, list[dict[str, Any]]()
    prices = [p for _, p in steps] + [draw(PRICES)]
    if rising:
        prices.sort(key=Decimal)
    for (width, _), unit in zip(steps, prices, strict=False):
        end += width
        tiers.append({"up_to": end, "unit_usd": unit})
    tiers.append({"unit_usd": prices[-1]})
    return charge(model=model, tiers=tiers)


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [
        ("0.005", "0.01"), ("0.015", "0.02"), ("0.025", "0.03"), ("0.0049999999", "0.00"),
        ("-0.005", "-0.01"), ("-0.0049", "0.00"), ("1.994999999999999999999999999999999", "1.99"),
        ("12345678901.125", "12345678901.13"),
    ],
)  # fmt: skip
def test_half_a_cent_is_rounded_away_from_zero(amount: str, rounded: str) -> None:
    assert cents(Decimal(amount)) == Decimal(rounded)


@pytest.mark.parametrize(
    ("fields", "units", "expected"),
    [
        ({"model": "per_unit", "unit_usd": "0.0004"}, 12_345, "4.938"),
        ({"model": "per_unit", "unit_usd": "0.0004", "included": 10_000}, 12_345, "0.938"),
        ({"model": "per_unit", "unit_usd": "0.0004", "included": 20_000}, 12_345, "0"),
        ({"model": "graduated", "tiers": TIERS}, 0, "0"),
        ({"model": "graduated", "tiers": TIERS}, 100, "10.00"),
        ({"model": "graduated", "tiers": TIERS}, 101, "12.05"),
        ({"model": "graduated", "tiers": TIERS}, 1500, "62.50"),
        ({"model": "volume", "tiers": TIERS}, 100, "10.00"),
        ({"model": "volume", "tiers": TIERS}, 101, "7.05"),
        ({"model": "volume", "tiers": TIERS}, 1500, "16.50"),
        ({"model": "package", "package_size": 1000, "package_usd": "5"}, 1, "5"),
        ({"model": "package", "package_size": 1000, "package_usd": "5"}, 1000, "5"),
        ({"model": "package", "package_size": 1000, "package_usd": "5"}, 1001, "10"),
        ({"model": "package", "package_size": 1000, "package_usd": "5", "included": 1}, 1001, "5"),
    ],
)  # fmt: skip
def test_each_model_has_its_price(fields: dict[str, Any], units: int, expected: str) -> None:
    assert price(charge(**fields), Decimal(units)) == Decimal(expected)


@given(tiered("graduated"), st.lists(st.integers(0, 10**7), max_size=8))
def test_graduated_is_the_sum_of_its_slices(one: Charge, cuts: list[int]) -> None:
    total = sum(cuts)
    by_unit, below = Decimal(0), 0
    for tier in one.tiers:
        end = total if tier.up_to is None else min(total, tier.up_to)
        by_unit += (max(end, below) - below) * tier.unit_usd
        below = max(end, below)
    assert price(one, Decimal(total)) == by_unit
    # Consuming it bit by bit costs the same as at once.
    at, bits = 0, Decimal(0)
    for cut in cuts:
        bits += price(one, Decimal(at + cut)) - price(one, Decimal(at))
        at += cut
    assert bits == by_unit


@given(tiered("graduated"), UNITS, UNITS)
def test_graduated_never_falls(one: Charge, first: int, more: int) -> None:
    assert price(one, Decimal(first)) <= price(one, Decimal(first + more))


@given(tiered("volume", rising=True), UNITS, UNITS)
def test_volume_never_falls_where_steps_get_dearer(one: Charge, first: int, more: int) -> None:
    assert price(one, Decimal(first)) <= price(one, Decimal(first + more))


@given(tiered("volume"), UNITS)
def test_volume_prices_every_unit_by_the_step_of_the_last(one: Charge, units: int) -> None:
    tier = next(t for t in one.tiers if t.up_to is None or units <= t.up_to)
    assert price(one, Decimal(units)) == units * tier.unit_usd


@given(st.integers(1, 10**6), PRICES.map(lambda p: format(cents(Decimal(p)), "f")), UNITS)
def test_packages_are_paid_when_they_are_begun(size: int, usd: str, units: int) -> None:
    one = charge(model="package", package_size=size, package_usd=usd)
    assert price(one, Decimal(units)) == -(-units // size) * Decimal(usd)


@given(
    st.lists(st.one_of(tiered("graduated"), tiered("volume")), max_size=5),
    st.decimals(0, 1000, places=2), st.decimals(0, 1000, places=2), st.integers(0, 10**5),
    st.integers(1, 31),
)  # fmt: skip
def test_lines_add_up_to_the_total_exactly_and_reach_the_minimum(
    charges: list[Charge], flat: Decimal, minimum: Decimal, calls: int, days: int
) -> None:
    terms = replace(
        read_terms({"flat_usd": format(flat, "f"), "minimum_usd": format(minimum, "f")}),
        charges=tuple(replace(c, name=f"c{n}") for n, c in enumerate(charges)),
    )
    lines = rate(terms, [used(calls)], plan="p", days=days, month_days=31)
    total = sum((line.amount_usd for line in lines), Decimal(0))
    assert all(line.amount_usd == cents(line.amount_usd) >= 0 for line in lines)
    assert total >= cents(minimum * days / 31)
    assert len({line.key for line in lines}) == len(lines)
    exact = sum((price(c, Decimal(calls)) for c in charges), Decimal(0)) + flat * days / 31
    short = [line for line in lines if line.key == "minimum"]
    if not short:
        assert abs(total - exact) <= Decimal("0.005") * len(lines)


def test_parts_of_a_month_cost_their_share() -> None:
    terms = read_terms({
        "flat_usd": "30.00", "minimum_usd": "62.00",
        "charges": [{"name": "c", "meter": "calls", "unit_usd": "1", "included": 31}],
    })  # fmt: skip

    def lines(**part: Any) -> dict[str, str]:
        found = rate(terms, [used(20)], plan="p", days=10, month_days=31, **part)
        return {line.key: str(line.amount_usd) for line in found}

    assert lines() == {"flat": "9.68", "charge:c": "10.00", "minimum": "0.32"}
    assert lines(part=Decimal(1)) == {"flat": "30.00", "charge:c": "0.00", "minimum": "32.00"}
    assert lines(part=Decimal(0)) == {"flat": "0.00", "charge:c": "20.00"}


def test_charges_count_their_meter_of_their_endpoints() -> None:
    terms = read_terms({"charges": [
        {"name": "calls", "meter": "calls", "unit_usd": "1", "endpoints": ["/v1/a*", "/exact"]},
        {"name": "tokens", "meter": "tokens", "unit_usd": "1"},
        {"name": "cost", "meter": "cost", "unit_usd": "1.2"},
        {"name": "over", "meter": "overage", "unit_usd": "2"},
    ]})  # fmt: skip
    usage = [
        used(1, endpoint="/v1/a", tokens=10, cost="0.000001"),
        used(2, endpoint="/v1/ab", tokens=10, cost="3.5"),
        used(4, endpoint="/exact"), used(8, endpoint="/exactly"), used(16, endpoint="/v1"),
    ]  # fmt: skip
    found = rate(terms, usage, plan="p", days=30, month_days=30, overage=3)
    assert [(str(x.quantity), str(x.amount_usd), x.kind) for x in found] == [
        ("7", "7.00", "api_usage"), ("20", "20.00", "api_usage"),
        ("3.500001", "4.20", "api_usage"), ("3", "6.00", "overage"),
    ]  # fmt: skip
    assert matches("/x", ()) and not matches("/x", ("/",)) and matches("/x", ("*",))


def test_line_that_no_row_can_hold_is_refused() -> None:
    terms = read_terms({"charges": [{"name": "c", "meter": "calls", "unit_usd": "99999"}]})
    with pytest.raises(LimitExceeded, match=r"99,999,999\.99 at most"):
        rate(terms, [used(10**9)], plan="p", days=30, month_days=30)


def test_tier_costs_its_price_and_overage_the_price_of_its_calls() -> None:
    terms = derived_terms(price_usd=Decimal(199), monthly_quota=1_000_000, overage_allowed=True)
    assert (terms.flat_usd, terms.charges[0].unit_usd) == (Decimal(199), Decimal("0.000199"))
    assert read_terms(written(terms)) == terms
    for quota, allowed in ((None, True), (0, True), (10, False)):
        plain = derived_terms(price_usd=Decimal(9), monthly_quota=quota, overage_allowed=allowed)
        assert plain.charges == ()


CHARGE = {"name": "c", "meter": "calls", "unit_usd": "1"}


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ([], "terms is []; it must be an object"),
        ({}, "hold no price"),
        ({"flat_usd": 1.5}, "flat_usd is 1.5; write dollars and cents"),
        ({"flat_usd": "1.555"}, "2 decimals at most"),
        ({"flat_usd": "-1"}, "flat_usd is '-1'"),
        ({"flat_usd": "NaN"}, "flat_usd is 'NaN'"),
        ({"flat_usd": "1e5"}, "flat_usd is '1e5'"),
        ({"flat_usd": "١"}, "flat_usd is"),
        ({"flat_usd": True}, "flat_usd is True"),
        ({"price": "1"}, "terms holds 'price'"),
        ({"charges": {}}, "charges is {}"),
        ({"charges": [{**CHARGE, "meter": "rows"}]}, "use one of calls, tokens, cost, overage"),
        ({"charges": [{**CHARGE, "model": "free"}]}, "charges[0].model is 'free'"),
        ({"charges": [{**CHARGE, "name": "<b>"}]}, "charges[0].name is '<b>'"),
        ({"charges": [CHARGE, CHARGE]}, "names 'c' twice"),
        ({"charges": [{**CHARGE, "included": -1}]}, "included is -1"),
        ({"charges": [{**CHARGE, "included": 10**30}]}, "included is 1000"),
        ({"charges": [{**CHARGE, "tiers": TIERS}]}, "is per_unit and takes no tiers"),
        ({"charges": [{"name": "c", "meter": "calls"}]}, "needs unit_usd"),
        ({"charges": [{**CHARGE, "endpoints": ["*a"]}]}, "endpoints holds '*a'"),
        ({"charges": [{**CHARGE, "meter": "overage", "endpoints": ["/a"]}]}, "counts overage"),
        ({"charges": [{**CHARGE, "unit_usd": "0.00000000001"}]}, "10 decimals at most"),
    ],
)
def test_terms_that_make_no_sense_are_refused_in_one_line(terms: Any, line: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_terms(terms)
    assert line in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "tiers",
    [
        [], "x", [{"up_to": 5, "unit_usd": "1"}], [{"unit_usd": "1"}, {"unit_usd": "2"}],
        [{"up_to": 5}, {"up_to": 5}, {}], [{"up_to": 0}, {}], [{"up_to": 1.5}, {}],
        [{"up_to": 5, "price": 1}, {}],
    ],
)  # fmt: skip
def test_steps_that_make_no_sense_are_refused(tiers: Any) -> None:
    with pytest.raises(InvalidInput, match="tiers"):
        charge(model="volume", tiers=tiers)


@given(st.text(max_size=20) | st.floats() | st.decimals() | st.integers() | st.none())
def test_money_is_exact_or_refused(value: Any) -> None:
    try:
        amount = read_money("m", value)
    except InvalidInput:
        return
    assert not isinstance(value, float)
    assert amount == amount.quantize(Decimal("0.01")) >= 0


def test_no_float_is_made_anywhere_in_billing() -> None:
    root = Path(aegis.billing.__file__).parent
    makers = {
        f"{path.name}:{node.lineno}"
        for path in root.rglob("*.py")
        # Seconds of pauses and clocks are no money.
        if path.parent.name != "stripe" and path.name != "outbox.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
    }
    assert makers == set()
