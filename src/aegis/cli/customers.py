"""`aegis keys customers …`: limits that all keys of a customer share."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit
from aegis.cli.paging import show_page
from aegis.cli.running import json_object, number_or, with_client

__all__ = ["app"]

app = App("Limits that all keys of a customer share.")

CustomerId = Annotated[str, Argument(metavar="CUSTOMER", help="Whose keys they are.")]


@app.add
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List customers whose keys share limits, by name."""
    from aegis.cli.keyring import show_customers
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.keys.customers.list(limit=limit, offset=offset),
        show_customers, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def show(customer_id: CustomerId, as_json: AsJson = False) -> None:
    """Show what a customer's keys share, and what is left of it this month."""
    _show(with_client(lambda a: a.keys.customers.get(customer_id)), as_json)


@app.add
def set_(
    customer_id: CustomerId,
    rate_limit: Annotated[
        str | None, Option(help="Calls a minute of all keys together, or `none` for any.")
    ] = None,
    monthly_quota: Annotated[
        str | None, Option(help="Calls a month of all keys together, or `none`; never exceeded.")
    ] = None,
    limits: Annotated[
        str | None,
        Option(help='Shared limits, JSON: {"tokens": {"limit": 1000, "window_s": 60}}.'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set limits that all keys of a customer share; a new quota holds for this month too."""
    changes: dict[str, Any] = {}
    for field, text in (("rate_limit", rate_limit), ("monthly_quota", monthly_quota)):
        if text is not None:
            changes[field] = number_or("none", field, text)
    if limits is not None:
        changes["limits"] = None if limits == "none" else json_object("limits", limits)
    _show(with_client(lambda a: a.keys.customers.set(customer_id, **changes)), as_json)


@app.add
def grant(
    customer_id: CustomerId,
    amount: Annotated[int, Argument(metavar="AMOUNT", help="Calls to add to this month.")],
    note: Annotated[str | None, Option(help="Why, for the ledger.")] = None,
    as_json: AsJson = False,
) -> None:
    """Top this month's shared quota up."""
    _show(with_client(lambda a: a.keys.customers.grant(customer_id, amount, note=note)), as_json)


@app.add
def ledger(
    customer_id: CustomerId, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False
) -> None:
    """Show how the shared quota came about, newest first."""
    from aegis.cli.keyring import show_ledger
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.keys.customers.ledger(customer_id, limit=limit, offset=offset),
        show_ledger, limit, cursor, as_json,
    )  # fmt: skip


def _show(customer: Any, as_json: bool) -> None:
    from aegis.cli.keyring import show_customer
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    if as_json:
        show_json(customer)
    else:
        show_customer(plain(customer))
