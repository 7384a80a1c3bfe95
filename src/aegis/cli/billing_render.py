"""How billing looks in a terminal."""

from __future__ import annotations

from typing import Any

from aegis.cli.render import line, note, pairs, style, table, when

__all__ = [
    "show_accounts",
    "show_entries",
    "show_invoice",
    "show_invoices",
    "show_outbox",
    "show_plan",
    "show_plans",
    "show_preview",
    "show_run",
    "show_subscriptions",
]


def show_accounts(page: Any) -> None:
    """Write customers."""
    table(
        ["customer", "name", "email", "stripe"],
        [
            [
                account["customer_id"],
                account["name"] or "",
                account["email"] or "",
                account["stripe_mode"],
            ]
            for account in page["items"]
        ],
        wide="name",
        empty="No customer fits.",
    )


def show_plans(page: Any) -> None:
    """Write plans, one version a line."""
    table(
        ["plan", "version", "from", "a month", "minimum", "charges"],
        [
            [
                plan["name"],
                str(plan["version"]) if plan["version"] else "tier",
                plan["valid_from"],
                plan["terms"]["flat_usd"],
                plan["terms"]["minimum_usd"],
                ", ".join(f"{c['name']} ({c['model']})" for c in plan["terms"]["charges"]),
            ]
            for plan in page["items"]
        ],
        wide="charges",
        empty="There is no plan.",
    )


def show_plan(plan: Any) -> None:
    """Write one version of a plan."""
    line(f"Plan {plan['name']} v{plan['version']}, valid from {plan['valid_from']}.")


def show_subscriptions(page: Any) -> None:
    """Write subscriptions."""
    table(
        ["id", "customer", "plan", "from", "to", "partial month"],
        [
            [str(s["id"]), s["customer_id"], s["plan"], s["starts_on"], s["ends_on"] or "",
             s["proration"]]
            for s in page["items"]
        ],
        wide="customer",
        empty="There is no subscription.",
    )  # fmt: skip


def show_preview(found: Any) -> None:
    """Write what a month costs."""
    line(f"{found['customer_id']}, {found['period'][:7]}: {', '.join(found['plans'])}")
    _lines(found["lines"])
    line(style(f"Total {found['total_usd']} USD", "bold") + f", {found['billed_usd']} billed.")


def show_run(found: Any) -> None:
    """Write what a run did."""
    done = "would be" if found["dry_run"] else "were"
    line(
        f"{found['period'][:7]}: {found['customers']:,} customers {done} billed, "
        f"{found['entries']:,} entries of {found['amount_usd']} USD "
        f"({found['adjustments']:,} for months before)."
    )
    line(f"{found['invoices']:,} invoices of {found['invoiced_usd']} USD {done} made.")
    if found["finalized"]:
        line(f"{found['finalized']:,} invoices are final.")
    for one in found["unbilled"][:20]:
        note(f"Not billed: {one['customer_id']}, {one['period'][:7]}: {one['reason']}.")
    if len(found["unbilled"]) > 20:
        note(f"… and {len(found['unbilled']) - 20:,} more; --json names them all.")


def show_invoices(page: Any) -> None:
    """Write invoices, one a line."""
    table(
        ["id", "number", "customer", "month", "USD", "state", "due", "Stripe"],
        [
            [str(i["id"]), i["number"] or "", i["customer_id"], i["period"][:7], i["total_usd"],
             i["state"], i["due_on"] or "", i["stripe_status"] or ""]
            for i in page["items"]
        ],
        wide="customer",
        empty="There is no invoice.",
    )  # fmt: skip


def show_invoice(found: Any) -> None:
    """Write one invoice with its lines."""
    pairs(
        [
            ("invoice", found["number"] or f"draft {found['id']}"),
            ("customer", found["customer_name"] or found["customer_id"]),
            ("month", found["period"][:7]),
            ("state", found["state"]),
            ("due", found["due_on"]),
            ("at Stripe", found["stripe_invoice_id"]),
        ]
    )
    _lines(found["lines"])
    line(style(f"Total {found['total_usd']} {found['currency']}", "bold"))


def show_entries(page: Any) -> None:
    """Write entries, one a line."""
    table(
        ["id", "customer", "month", "type", "USD", "open", "what"],
        [
            [str(e["id"]), e["customer_id"], (e["period"] or "")[:7], e["event_type"],
             e["amount_usd"], e["open_usd"], e["description"] or ""]
            for e in page["items"]
        ],
        wide="what",
        empty="There is no entry.",
    )  # fmt: skip


def show_outbox(page: Any) -> None:
    """Write rows of the outbox, one a line."""
    table(
        ["id", "what", "state", "tries", "not before", "why"],
        [
            [str(r["id"]), r["subject"], r["state"], str(r["attempts"]),
             when(r["next_at"]) if r["state"] == "pending" else "", r["last_error"] or ""]
            for r in page["items"]
        ],
        wide="why",
        empty="The outbox is empty.",
    )  # fmt: skip


def _lines(lines: Any) -> None:
    table(
        ["what", "quantity", "USD"],
        [[x["description"], _units(x["quantity"]), x["amount_usd"]] for x in lines],
        wide="what",
        empty="Nothing to pay.",
    )


def _units(text: str | None) -> str:
    if text is None or "." not in text:
        return text or ""
    return text.rstrip("0").rstrip(".")
