"""`aegis billing stripe …`: telling Stripe, and what it was told."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit
from aegis.cli.paging import show_page
from aegis.cli.running import named, with_client

__all__ = ["app"]

app = App("Hand invoices or usage to Stripe.")


@app.add
def link(
    customer_id: Annotated[str, Argument(metavar="CUSTOMER", help="Id of the customer.")],
    mode: Annotated[
        str, Option(help="invoices (ours are sent), meters (usage is sent) or none.")
    ] = "invoices",
    stripe_customer: Annotated[
        str | None, Option(help="cus_… of a customer whom Stripe has; made there otherwise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let Stripe bill a customer from now on."""
    from aegis.cli.render import line, show_json

    changes: dict[str, Any] = named(stripe_mode=mode, stripe_customer_id=stripe_customer)
    found = with_client(lambda a: a.billing.set_account(customer_id, **changes))
    if as_json:
        show_json(found)
    else:
        line(f"{found.customer_id} is billed through Stripe by: {found.stripe_mode}.")


@app.add
def sync(as_json: AsJson = False) -> None:
    """Tell Stripe what it does not know yet; `aegis up` does it every minute."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json
    from aegis.errors import Unavailable

    with counting("Sending") as seen:
        done = with_client(lambda a: a.billing.stripe.sync(on_progress=seen))
    if as_json:
        show_json(done)
    else:
        line(
            f"{done.queued:,} new, {done.sent:,} sent, {done.retried:,} to be tried again, "
            f"{done.failed:,} refused, {done.waiting:,} waiting."
        )
    if done.unreachable is not None:
        raise Unavailable(
            f"Stripe cannot be reached ({done.unreachable.rstrip('.')}); what waits is tried again "
            "by the next sync.",
            code="stripe_unreachable",
        )


@app.add
def status(
    state: Annotated[str | None, Option(help="pending, sent or failed.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List what Stripe has to be told and was, newest first."""
    from aegis.cli.billing_render import show_outbox
    from aegis.wire.cursor import BY_OFFSET

    show_page(
        BY_OFFSET,
        lambda a, offset: a.billing.stripe.rows(state=state, limit=limit, offset=offset),
        show_outbox, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def retry(
    row_id: Annotated[int | None, Option("--id", help="One row; all otherwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let what Stripe refused be tried again by the next sync."""
    from aegis.cli.render import line, show_json

    count = with_client(lambda a: a.billing.stripe.retry(row_id))
    if as_json:
        show_json({"retried": count})
    else:
        line(f"{count:,} will be tried again.")
