"""An invoice as HTML and as CSV. Pure.

Names come from customers: HTML is escaped whole, and a cell of CSV that a spreadsheet would take
for a formula gets an apostrophe in front (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.billing.models import Invoice, InvoiceLine

__all__ = ["invoice_csv", "invoice_html", "invoices_csv"]

#: What a spreadsheet begins a formula with, or skips before one.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_STYLE: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f4f6; color: #16191d;
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 800px; margin: 32px auto; padding: 56px 64px; background: #fff;
  border: 1px solid #e3e5e8; border-radius: 6px; }
header { display: flex; justify-content: space-between; gap: 32px; margin-bottom: 40px; }
h1 { margin: 0 0 4px; font-size: 26px; letter-spacing: -.01em; }
.title { flex: none; }
.number { color: #5a626d; font-variant-numeric: tabular-nums; }
.from { min-width: 0; text-align: right; white-space: pre-line; color: #5a626d;
  overflow-wrap: anywhere; }
.notice { margin: 0 0 32px; padding: 10px 14px; border-left: 3px solid; border-radius: 3px;
  background: #fdf0d0; color: #7a4d00; }
.notice.void { background: #fbe0de; color: #8c1d18; }
.facts { display: grid; grid-template-columns: minmax(0, 1fr) fit-content(50%); gap: 32px;
  margin-bottom: 32px; }
.to { overflow-wrap: anywhere; }
.to b { display: block; font-size: 16px; line-height: 1.35; margin-bottom: 2px; }
/* Each line by its own direction; marks that pile up stay within what they are of. */
.to b, .address, .what { overflow: hidden; text-align: left; unicode-bidi: plaintext; }
.address { display: block; white-space: pre-line; }
.label { margin: 0 0 4px; color: #5a626d; font-size: 12px;
  text-transform: uppercase; letter-spacing: .06em; }
dl { display: grid; grid-template-columns: auto minmax(0, auto); gap: 2px 24px; margin: 0;
  align-content: start; }
dt { color: #5a626d; }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; }
th { padding: 8px 0; border-bottom: 2px solid #16191d; color: #5a626d; font-size: 12px;
  font-weight: 600; text-align: left; text-transform: uppercase; letter-spacing: .06em; }
td { padding: 10px 0; border-bottom: 1px solid #e3e5e8; vertical-align: top;
  overflow-wrap: anywhere; }
th.n, td.n { padding-left: 24px; text-align: right; white-space: nowrap; overflow-wrap: normal;
  font-variant-numeric: tabular-nums; }
tr.less td { color: #0b5c2f; }
tfoot td { padding: 6px 0; border: 0; color: #5a626d; }
tfoot tr:first-child td { padding-top: 16px; }
tfoot tr.total td { color: #16191d; font-size: 18px; font-weight: 700; }
.state { display: inline-block; padding: 1px 10px; border-radius: 999px; background: #e8eaed;
  font-size: 12px; }
.state.paid { background: #d9f2e3; color: #0b5c2f; }
.state.void { background: #fbe0de; color: #8c1d18; }
.state.draft { background: #fdf0d0; color: #7a4d00; }
footer { margin-top: 40px; color: #5a626d; font-size: 12px; }
@page { margin: 16mm; }
@media print { body { background: #fff; font-size: 12px; }
  main { margin: 0; padding: 0; border: 0; border-radius: 0; max-width: none; }
  .state, .notice { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  /* A foot of a table would be repeated at the end of each page: a total that is none. */
  tfoot { display: table-row-group; }
  tr { break-inside: avoid; } tfoot tr, footer { break-before: avoid; } }
@media screen and (max-width: 640px) {
  main { margin: 0; padding: 24px; border: 0; border-radius: 0; }
  header, .facts { display: block; } .from { margin-top: 16px; text-align: left; }
  dl { margin-top: 24px; justify-content: start; } dd { text-align: left; } }
@media screen and (max-width: 520px) {
  /* What it is for has a row of its own; numbers stand below it. */
  table, tbody, thead, tfoot { display: block; }
  tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; }
  th:first-child, td:first-child { grid-column: 1 / -1; }
  th:first-child { padding-bottom: 0; border: 0; }
  tbody td:first-child { padding-bottom: 0; border: 0; }
  th.n, td.n { padding-left: 0; } td:nth-child(3) { padding-left: 16px; }
  td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; }
  th:nth-child(2), td:nth-child(2) { text-align: left; }
  tbody td.n { padding-top: 2px; }
  tfoot td:first-child { grid-column: auto; }
  tfoot td:nth-child(2) { display: none; } }
"""

#: What the reader of a document that is not to be paid has to know.
_NOTICES: Final = {
    "draft": "This is a draft: it has no number, and nothing is due yet.",
    "void": "This invoice was taken back: it is not to be paid.",
}


def invoice_html(invoice: Invoice, *, seller: str | None = None) -> str:
    """Return an invoice as one page of HTML that needs nothing else: no script, no other file."""
    name = invoice.customer_name or invoice.customer_id
    title = f"Invoice {invoice.number}" if invoice.number else "Invoice (draft)"
    facts = [
        ("Month", f"{invoice.period:%Y-%m}"),
        ("Date", invoice.finalized_at and f"{invoice.finalized_at:%Y-%m-%d}"),
        ("Due", invoice.due_on and invoice.due_on.isoformat()),
        ("Paid", invoice.paid_at and f"{invoice.paid_at:%Y-%m-%d}"),
        ("Taken back", invoice.voided_at and f"{invoice.voided_at:%Y-%m-%d}"),
        ("Customer", invoice.customer_id),
    ]
    rows = "\n".join(_row(line) for line in invoice.lines)
    notice = _NOTICES.get(invoice.state)
    told = f'<p class="notice {invoice.state}">{notice}</p>\n' if notice else ""
    terms = "\n".join(f"<dt>{label}</dt><dd>{_text(value)}</dd>" for label, value in facts if value)
    address = (
        f'<span class="address">{_text(invoice.customer_address)}</span>'
        if invoice.customer_address
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<div class="title"><h1>Invoice</h1>
<span class="number">{_text(invoice.number or "no number yet")}</span>
<span class="state {invoice.state}">{invoice.state}</span></div>
<div class="from">{_text((seller or "").replace("|", chr(10)))}</div>
</header>
{told}<section class="facts">
<div class="to"><p class="label">To</p><b>{_text(name)}</b>{address}</div>
<dl>{terms}</dl>
</section>
<table>
<thead><tr><th scope="col">Description</th><th scope="col" class="n">Quantity</th><th scope="col" \
class="n">Amount, {_text(invoice.currency)}</th></tr></thead>
<tbody>
{rows}
</tbody>
<tfoot>
{_sums(invoice)}
</tfoot>
</table>
<footer>Each line is rounded to the cent, half up; the total is the sum of the lines.</footer>
</main>
</body>
</html>
"""


def _row(line: InvoiceLine) -> str:
    less = ' class="less"' if line.amount_usd < 0 else ""
    return (
        f'<tr{less}><td class="what">{_text(line.description)}</td>'
        f'<td class="n">{_quantity(line.quantity)}</td>'
        f'<td class="n">{_money(line.amount_usd)}</td></tr>'
    )


def _sums(invoice: Invoice) -> str:
    """Return the foot: where something is taken off, what it is taken off from, too."""
    less = sum((line.amount_usd for line in invoice.lines if line.amount_usd < 0), Decimal(0))
    sums = [("Charges", invoice.total_usd - less), ("Credits", less)] if less else []
    return "\n".join(
        f'<tr{kind}><td>{label}</td><td></td><td class="n">{_money(amount)}</td></tr>'
        for label, amount, kind in (
            *((label, amount, "") for label, amount in sums),
            ("Total", invoice.total_usd, ' class="total"'),
        )
    )


def invoice_csv(invoice: Invoice) -> str:
    """Return the lines of an invoice as CSV, with the invoice's own fields on each."""
    return invoices_csv([invoice])


def invoices_csv(invoices: Sequence[Invoice]) -> str:
    """Return the lines of invoices as CSV (RFC 4180)."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(
        [
            *("invoice", "customer_id", "customer_name", "month", "state", "due_on", "position"),
            *("kind", "description", "quantity", "amount_usd"),
        ]
    )
    for invoice in invoices:
        for line in invoice.lines:
            writer.writerow(
                [
                    invoice.number or f"draft {invoice.id}",
                    _cell(invoice.customer_id),
                    _cell(invoice.customer_name or ""),
                    f"{invoice.period:%Y-%m}",
                    invoice.state,
                    invoice.due_on or "",
                    line.position,
                    line.kind,
                    _cell(line.description),
                    "" if line.quantity is None else _plain(line.quantity),
                    f"{line.amount_usd:.2f}",
                ]
            )
    return target.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _text(text: str) -> str:
    # A mark that turns the direction of writing could show another name or amount than is there.
    return escape("".join(c for c in text if c not in _TURNING))


#: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _money(amount: Decimal) -> str:
    return f"−{-amount:,.2f}" if amount < 0 else f"{amount:,.2f}"


def _quantity(quantity: Decimal | None) -> str:
    if quantity is None:
        return ""
    text = f"{quantity:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(quantity: Decimal) -> str:
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
