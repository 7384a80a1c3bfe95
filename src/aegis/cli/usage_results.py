"""How people see usage: sums, events, months, what a comparison found."""

from __future__ import annotations

from typing import Any

from aegis.cli.render import clip, line, style, table, when

__all__ = ["show_events", "show_partitions", "show_reconciled", "show_report"]


def show_report(report: dict[str, Any]) -> None:
    """Write sums."""
    timed, grouped = report["granularity"] != "all", any(i["group"] for i in report["items"])
    columns = [*(["when"] if timed else []), *(["what"] if grouped else [])]
    table(
        [*columns, "calls", "errors", "tokens", "USD", "mean ms", "p50", "p95", "p99"],
        [
            [
                *([_span(i["at"], report["granularity"])] if timed else []),
                *([clip(i["group"] or "(no key)", 60)] if grouped else []),
                f"{i['calls']:,}",
                f"{i['errors']:,}",
                f"{i['tokens']:,}",
                i["cost_usd"],
                *(_ms(i[name]) for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")),
            ]
            for i in report["items"]
        ],
        wide=columns[-1] if columns else "calls",
        empty="No call was metered in that time.",
    )


def show_events(page: dict[str, Any]) -> None:
    """Write a page of events."""
    table(
        ["when", "customer", "call", "status", "ms", "tokens", "USD", "source"],
        [
            [
                when(e["created_at"]),
                clip(e["customer_id"], 24),
                clip(f"{e['method']} {e['endpoint']}", 60),
                str(e["status_code"]),
                "" if e["response_time_ms"] is None else f"{e['response_time_ms']:,}",
                f"{e['tokens_used'] or 0:,}",
                e["cost_usd"] or "",
                e["source"] or "",
            ]
            for e in page["items"]
        ],
        wide="call",
        empty="No event fits.",
    )


def show_partitions(found: dict[str, Any]) -> None:
    """Write months, in the database and in files."""
    table(
        ["month", "events", "KiB", "state"],
        [
            [
                p["month"][:7],
                "?" if p["rows"] is None else f"about {p['rows']:,}",
                f"{p['size_bytes'] // 1024:,}",
                "" if p["attached"] else "on its way out",
            ]
            for p in found["items"]
        ],
        wide="state",
        empty="There is no partition; `aegis usage partitions --keep-house` makes them.",
    )
    if found["archives"]:
        line()
        table(
            ["month", "state", "events", "file"],
            [[a["month"][:7], a["state"], f"{a['rows']:,}", a["path"]] for a in found["archives"]],
            wide="file",
            empty="",
        )


def show_reconciled(found: dict[str, Any]) -> None:
    """Write what a comparison found."""
    checked = f"{found['events']:,} events of {len(found['months'])} months"
    if not found["differences"]:
        line(style("The sums are what the events add up to", "green") + f": {checked}.")
        return
    table(
        ["table", "when", "customer", "call", "calls", "of events", "USD", "of events"],
        [
            [
                d["table"],
                when(d["at"]),
                clip(d["customer_id"], 24),
                clip(f"{d['method']} {d['endpoint']}", 40),
                f"{d['calls']:,}",
                f"{d['calls_of_events']:,}",
                d["cost_usd"],
                d["cost_usd_of_events"],
            ]
            for d in found["differences"]
        ],
        wide="call",
        empty="",
    )
    if found["fixed"]:
        line(f"Made again from {checked}.")
    else:
        line(f"{len(found['differences']):,} sums differ ({checked}); --fix makes them again.")


def _span(at: str, granularity: str) -> str:
    return {"hour": when(at), "day": at[:10], "month": at[:7]}[granularity]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
