"""`aegis billing …`: plans, subscriptions, the month-end run, invoices, credits, Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit
from aegis.cli.paging import show_page
from aegis.cli.running import named, with_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.client import Aegis

__all__ = ["Customer", "Month", "app", "take_back"]

app = App("What customers pay: plans, runs, invoices, credits, Stripe.")

Customer = Annotated[str, Argument(metavar="CUSTOMER", help="Id of the customer.")]
OfCustomer = Annotated[str | None, Option("--customer", help="Of this customer.")]
Month = Annotated[str | None, Option(help="Such as 2026-10.")]


@app.add
def subscribe(
    customer_id: Customer,
    plan: Annotated[str, Argument(metavar="PLAN", help="Name of a plan, or of a tier of keys.")],
    starts_on: Annotated[str | None, Option("--from", help="First day; today otherwise.")] = None,
    ends_on: Annotated[str | None, Option("--to", help="First day without it.")] = None,
    proration: Annotated[
        str, Option(help="What a partial month costs: daily, full or none.")
    ] = "daily",
    as_json: AsJson = False,
) -> None:
    """Put a customer on a plan; the one they are on ends the day before."""
    from aegis.cli.render import line, show_json

    made = with_client(
        lambda a: a.billing.subscribe(
            customer_id,
            plan,
            proration=proration,  # pyright: ignore[reportArgumentType]
            starts_on=starts_on,
            ends_on=ends_on,
        )
    )
    if as_json:
        show_json(made)
    else:
        line(f"Subscription {made.id}: {made.customer_id} is on {made.plan} from {made.starts_on}.")


@app.add
def unsubscribe(
    subscription_id: Annotated[int, Argument(metavar="ID", help="Number of the subscription.")],
    ends_on: Annotated[str | None, Option("--on", help="First day without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """End a subscription, today or on another day."""
    from aegis.cli.render import line, show_json

    ended = with_client(lambda a: a.billing.end_subscription(subscription_id, ends_on))
    if as_json:
        show_json(ended)
    else:
        line(f"Subscription {ended.id} of {ended.customer_id} ends on {ended.ends_on}.")


@app.add
def subscriptions(
    customer_id: OfCustomer = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List which plan customers are on."""
    from aegis.cli.billing_render import show_subscriptions
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.billing.subscriptions(customer_id, limit=limit, offset=offset),
        show_subscriptions, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def preview(customer_id: Customer, month: Month = None, as_json: AsJson = False) -> None:
    """Show what a month, this one otherwise, costs a customer as things stand."""
    from aegis.cli.billing_render import show_preview
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    found = with_client(lambda a: a.billing.preview(customer_id, month))
    if as_json:
        show_json(found)
    else:
        show_preview(plain(found))


@app.add
def run(
    month: Annotated[str, Option(help="The month to bill, such as 2026-10.")],
    dry_run: Annotated[bool, Option("--dry-run", help="Only count.")] = False,
    customer: Annotated[
        list[str] | None, Option("--customer", help="This one alone; repeatable.")
    ] = None,
    finalize: Annotated[
        bool, Option("--finalize", help="Give the month's drafts their numbers, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bill a month that is over; safe to repeat, and to kill at any moment."""
    from aegis.cli.billing_render import show_run
    from aegis.cli.progress import counting
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    with counting("Billing") as seen:

        async def work(client: Aegis) -> tuple[Any, int]:
            report = await client.billing.run(
                month, dry_run=dry_run, customers=customer, on_progress=seen
            )
            if not finalize or dry_run:
                return report, 0
            return report, await client.billing.invoices.finalize_month(month)

        report, finalized = with_client(work)
    found = {**plain(report), "finalized": finalized}
    if as_json:
        show_json(found)
    else:
        show_run(found)


@app.add
def runs(as_json: AsJson = False) -> None:
    """List the runs, newest month first; one that was cut off has to be repeated."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.billing.runs()))
    if as_json:
        show_json({"items": found})
        return
    table(
        ["month", "begun", "ended"],
        [
            [r["period"][:7], when(r["started_at"]), when(r["finished_at"]) or "cut off: repeat it"]
            for r in found
        ],
        wide="ended",
        empty="No month was billed yet.",
    )


@app.add
def invoices(
    customer_id: OfCustomer = None,
    month: Month = None,
    state: Annotated[str | None, Option(help="draft, final, sent, paid or void.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List invoices, newest first."""
    from aegis.cli.billing_render import show_invoices
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.billing.invoices.list(
            customer_id=customer_id, month=month, state=state, limit=limit, offset=offset
        ),
        show_invoices, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def credit(
    customer_id: Customer,
    amount: Annotated[str, Argument(metavar="AMOUNT", help="US dollars, such as 5.00.")],
    reason: Annotated[str, Option(help="Why; the customer reads it.")],
    key: Annotated[
        str | None, Option(help="The same key credits once, however often it is tried.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Credit a customer; the next invoices take it."""
    _entry(lambda a: a.billing.credit(customer_id, amount, reason=reason, key=key), as_json)


def take_back(
    entry_id: Annotated[int, Argument(metavar="ENTRY", help="Number of the credit.")],
    reason: Annotated[str, Option(help="Why; the customer reads it.")],
    amount: Annotated[str | None, Option(help="A part; all that is left otherwise.")] = None,
    key: Annotated[str | None, Option(help="The same key takes back once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a credit back: a row that charges it again."""
    _entry(lambda a: a.billing.take_back(entry_id, amount, reason=reason, key=key), as_json)


@app.add
def entries(
    customer_id: OfCustomer = None,
    event_type: Annotated[
        str | None, Option("--type", help="api_usage, subscription, overage or credit.")
    ] = None,
    month: Month = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List the entries that invoices are made of, newest first."""
    from aegis.cli.billing_render import show_entries
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.billing.entries(
            customer_id=customer_id, event_type=event_type, month=month, limit=limit, offset=offset
        ),
        show_entries, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def account(
    customer_id: Customer,
    name: Annotated[str | None, Option(help="Name on invoices.")] = None,
    email: Annotated[str | None, Option(help="Where Stripe sends invoices.")] = None,
    address: Annotated[str | None, Option(help="Address on invoices; lines set off by |.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a customer as invoices name them, or set it."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import plain

    changes = named(
        name=name, email=email, address=None if address is None else address.replace("|", "\n")
    )

    async def work(client: Aegis) -> tuple[Any, Any]:
        if changes:
            await client.billing.set_account(customer_id, **changes)
        found = await client.billing.account(customer_id)
        return found, await client.billing.balance(customer_id)

    found, balance = with_client(work)
    shown = {**plain(found), "open_usd": plain(balance)}
    if as_json:
        show_json(shown)
    else:
        pairs([*shown.items()])


@app.add
def accounts(
    email: Annotated[str | None, Option(help="Only those with this e-mail address.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List customers as invoices name them."""
    from aegis.cli.billing_render import show_accounts
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.billing.accounts(email=email, limit=limit, offset=offset),
        show_accounts, limit, cursor, as_json,
    )  # fmt: skip


app.add_later("takeback", "aegis.cli.billing:take_back")
app.add_later("invoice", "aegis.cli.invoices:app")
app.add_later("plans", "aegis.cli.plans:app")
app.add_later("stripe", "aegis.cli.stripe:app")


def _entry(work: Callable[[Aegis], Awaitable[Any]], as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    made = with_client(work)
    if as_json:
        show_json(made)
    else:
        line(f"Entry {made.id} of {made.customer_id}: {made.amount_usd:,.2f} USD.")
