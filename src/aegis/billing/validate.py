"""What billing accepts. Pure; every refusal names the field and the value."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from aegis.billing.models import INVOICE_STATES, LINE_KINDS, PRORATIONS, STRIPE_MODES
from aegis.billing.terms import read_money
from aegis.errors import InvalidInput, NotFound
from aegis.keys.validate import check_page, check_text, check_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "account_changes",
    "check_choice",
    "check_customer",
    "check_day",
    "check_event_type",
    "check_number",
    "check_page",
    "check_plan_name",
    "check_proration",
    "check_state",
    "check_text",
    "check_whole",
    "credit_amount",
]

_PLAN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_STRIPE_CUSTOMER: Final = re.compile(r"cus_[A-Za-z0-9]{1,100}")
_LEAST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(2199, 12, 31)


def check_customer(value: Any) -> None:
    """Accept the id of a customer."""
    check_text("customer_id", value, most=100)


def check_plan_name(value: Any) -> None:
    """Accept the name of a plan."""
    if not isinstance(value, str) or not _PLAN.fullmatch(value):
        raise InvalidInput(
            f"plan is {value!r:.60}; use 1 to 50 letters, digits, dots, dashes and underscores."
        )


def check_day(name: str, value: Any) -> date:
    """Return a day; its text will do (`InvalidInput`)."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else None
        except ValueError:
            value = None
    # A time is a date, too, and has no place here.
    if type(value) is not date or not _LEAST_DAY <= value <= _LAST_DAY:
        raise InvalidInput(f"{name} is no day; write it as 2026-10-01.")
    return value


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Accept one of a few words."""
    if value not in choices:
        raise InvalidInput(f"{name} is {value!r:.60}; use one of {', '.join(choices)}.")


def check_proration(value: Any) -> None:
    """Accept what a partial month costs."""
    check_choice("proration", value, PRORATIONS)


def check_state(value: Any) -> None:
    """Accept the state of an invoice."""
    check_choice("state", value, INVOICE_STATES)


def check_event_type(value: Any) -> None:
    """Accept the type of an entry."""
    check_choice("event_type", value, LINE_KINDS)


def check_number(what: str, value: Any) -> int:
    """Return the number of a row; what is none names no row (`NotFound`)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise NotFound(f"There is no {what} {value!r:.60}.")
    return value


def credit_amount(value: Any) -> Decimal:
    """Return an amount above 0, exact to the cent."""
    return read_money("amount_usd", value, least=Decimal("0.01"))


def account_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an account to set, checked; None takes one away."""
    known = ("name", "email", "address", "stripe_mode", "stripe_customer_id")
    unknown = sorted(set(changes) - set(known))
    if unknown or not changes:
        what = repr(unknown[0]) if unknown else "nothing"
        raise InvalidInput(f"The change names {what}; use {', '.join(known)}.")
    if changes.get("name") is not None:
        check_text("name", changes["name"], most=200)
    if changes.get("email") is not None:
        check_text("email", changes["email"], most=254)
        if not _EMAIL.fullmatch(changes["email"]):
            raise InvalidInput(f"email is {changes['email']!r:.60}; write it as name@example.org.")
    if changes.get("address") is not None:
        _check_address(changes["address"])
    if "stripe_mode" in changes:
        check_choice("stripe_mode", changes["stripe_mode"], STRIPE_MODES)
    stripe = changes.get("stripe_customer_id")
    if stripe is not None and not (isinstance(stripe, str) and _STRIPE_CUSTOMER.fullmatch(stripe)):
        raise InvalidInput(f"stripe_customer_id is {stripe!r:.60}; it looks like cus_Nff….")
    return dict(changes)


def _check_address(value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 500 or len(value.splitlines()) > 8:
        raise InvalidInput(f"address is {value!r:.60}; use 8 lines and 500 characters at most.")
    for line in value.splitlines():
        if not line.isprintable():
            raise InvalidInput(f"address holds {line!r:.60}; use printable characters.")
