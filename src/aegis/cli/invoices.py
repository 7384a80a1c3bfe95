"""`aegis billing invoice …`: one invoice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Yes
from aegis.cli.running import confirm, with_client
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.client import Aegis

__all__ = ["app"]

app = App("One invoice: show it, make it final, sent, paid or void.")

Id = Annotated[int, Argument(metavar="ID", help="Number of the row (`aegis billing invoices`).")]


@app.add
def show(
    invoice_id: Id,
    form: Annotated[str, Option("--format", help="text, html or csv.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Show an invoice with its lines; as HTML or CSV for a file."""
    from aegis.cli.billing_render import show_invoice
    from aegis.cli.render import line, show_json
    from aegis.wire.plain import plain

    if form not in ("text", "html", "csv"):
        raise InvalidInput(f"format is {form!r}; use text, html or csv.")

    async def work(client: Aegis) -> tuple[Any, str]:
        found = await client.billing.invoices.get(invoice_id)
        if form == "html":
            return found, client.billing.invoices.html(found)
        return found, client.billing.invoices.csv([found]) if form == "csv" else ""

    found, text = with_client(work)
    if as_json:
        show_json(found)
    elif text:
        line(text.rstrip("\n"))
    else:
        show_invoice(plain(found))


@app.add
def finalize(invoice_id: Id, as_json: AsJson = False) -> None:
    """Give a draft its number; it cannot change any more."""
    _moved(lambda a: a.billing.invoices.finalize(invoice_id), as_json)


@app.add
def sent(invoice_id: Id, as_json: AsJson = False) -> None:
    """Note that a final invoice was sent."""
    _moved(lambda a: a.billing.invoices.mark_sent(invoice_id), as_json)


@app.add
def paid(invoice_id: Id, as_json: AsJson = False) -> None:
    """Note that an invoice was paid."""
    _moved(lambda a: a.billing.invoices.mark_paid(invoice_id), as_json)


@app.add
def void(invoice_id: Id, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take an invoice back: what it charged goes on another one."""
    confirm(f"Invoice {invoice_id} will be void; that cannot be taken back.", yes=yes)
    _moved(lambda a: a.billing.invoices.void(invoice_id), as_json)


def _moved(work: Callable[[Aegis], Awaitable[Any]], as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    found = with_client(work)
    if as_json:
        show_json(found)
    else:
        name = found.number or f"draft {found.id}"
        line(f"Invoice {name} of {found.customer_id} is {found.state}.")
