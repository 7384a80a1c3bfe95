"""How people see keys: lists, one key, what became of a call, the ledger, tiers."""

from __future__ import annotations

import math
from typing import Any, Final

from aegis.cli.exits import STATUS
from aegis.cli.render import clip, line, pairs, style, table, when
from aegis.errors import LimitExceeded, PermissionDenied, Unauthenticated

__all__ = [
    "VERDICT_STATUS",
    "show_customer",
    "show_customers",
    "show_key",
    "show_keys",
    "show_ledger",
    "show_secrets",
    "show_tiers",
    "show_verification",
]

#: Exit status of `aegis keys verify`, as an error of the same kind has it.
VERDICT_STATUS: Final = {
    "VALID": 0,
    "NOT_FOUND": STATUS[Unauthenticated],
    "DISABLED": STATUS[Unauthenticated],
    "EXPIRED": STATUS[Unauthenticated],
    "FORBIDDEN": STATUS[PermissionDenied],
    "QUOTA_EXCEEDED": STATUS[LimitExceeded],
    "RATE_LIMITED": STATUS[LimitExceeded],
}


def show_keys(page: dict[str, Any]) -> None:
    """Write a page of keys."""
    table(
        ["id", "key", "customer", "tier", "state", "used", "name"],
        [
            [
                k["id"],
                f"{k['key_prefix']}…",
                clip(k["customer_id"], 24),
                k["tier"] or "",
                _state(k),
                when(k["last_used_at"]),
                clip(k["name"] or "", 40),
            ]
            for k in page["items"]
        ],
        wide="name",
        empty="No key fits.",
    )


def show_key(found: dict[str, Any]) -> None:
    """Write everything about one key."""
    quota = found["quota"]
    pairs(
        [
            ("id", found["id"]),
            ("key", f"{found['key_prefix']}…"),
            ("customer", found["customer_id"]),
            ("name", found["name"]),
            ("environment", found["environment"]),
            ("tier", found["tier"]),
            ("state", _state(found)),
            ("scopes", found["scopes"]),
            ("namespaces", _namespaces(found["namespaces"])),
            ("rate limit", _own(found, "rate_limit", "a minute")),
            ("quota", _own(found, "monthly_quota", "a month")),
            ("this month", _balance(quota)),
            ("own limits", found["limits"]),
            ("expires", when(found["expires_at"]) or None),
            ("old key until", when(found["old_key_until"]) or None),
            ("created", when(found["created_at"])),
            ("last used", when(found["last_used_at"]) or "never"),
        ]
    )


def show_verification(found: dict[str, Any]) -> None:
    """Write what became of a call, and what is left of each limit."""
    line(style(found["code"], "green" if found["valid"] else "red", "bold"))
    pairs(
        [
            ("key", found["key_id"]),
            ("customer", found["customer_id"]),
            ("tier", found["tier"]),
            *((f"{x['name']}", _limit(x)) for x in found["limits"]),
            ("month", _month(found["quota"])),
            ("customer's month", _month(found["customer_quota"])),
        ]
    )
    if found["retry_after_s"] is not None:
        line(f"Try again in {math.ceil(found['retry_after_s']):,} s.")


def show_ledger(page: dict[str, Any]) -> None:
    """Write a page of a ledger."""
    table(
        ["when", "month", "kind", "amount", "note"],
        [
            [
                when(e["created_at"]),
                e["period"][:7],
                e["kind"],
                f"{e['amount']:+,}",
                clip(e["note"] or "", 80),
            ]
            for e in page["items"]
        ],
        wide="note",
        empty="No quota was used yet.",
    )


def show_customers(page: dict[str, Any]) -> None:
    """Write a page of customers."""
    table(
        ["customer", "keys", "calls a minute", "calls a month", "left"],
        [
            [
                clip(c["customer_id"], 40),
                f"{c['keys']:,}",
                _any(c["rate_limit"]),
                _any(c["monthly_quota"]),
                "" if c["remaining"] is None else f"{c['remaining']:,}",
            ]
            for c in page["items"]
        ],
        wide="customer",
        empty="No customer's keys share limits.",
    )


def show_customer(found: dict[str, Any]) -> None:
    """Write what a customer's keys share."""
    used = f"{found['used']:,} used of {_any(found['granted'])}"
    pairs(
        [
            ("customer", found["customer_id"]),
            ("keys", f"{found['keys']:,}"),
            ("rate limit", f"{_any(found['rate_limit'])} a minute"),
            ("quota", f"{_any(found['monthly_quota'])} a month"),
            ("this month", None if found["granted"] is None else used),
            ("shared limits", found["limits"]),
            ("changed", when(found["updated_at"]) or None),
        ]
    )


def show_tiers(tiers: list[dict[str, Any]]) -> None:
    """Write tiers."""
    table(
        ["tier", "calls a minute", "calls a month", "USD a month", "overage", "carried over"],
        [
            [
                t["name"],
                f"{t['rate_limit']:,}",
                "any" if t["monthly_quota"] is None else f"{t['monthly_quota']:,}",
                t["price_usd"],
                "yes" if t["overage_allowed"] else "no",
                f"{t['rollover_limit']:,}",
            ]
            for t in tiers
        ],
        wide="tier",
        empty="",
    )


def show_secrets(secrets: list[dict[str, Any]]) -> None:
    """Write which secrets keys need."""
    table(
        ["secret", "keys", "here", "for new keys"],
        [
            [
                "none (sha256)" if s["id"] == "sha256" else s["id"],
                f"{s['keys']:,}",
                "yes" if s["known"] else "no",
                "yes" if s["current"] else "",
            ]
            for s in secrets
        ],
        wide="secret",
        empty="No key was issued yet.",
    )


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return "revoked"
    return "enabled" if key["enabled"] else "disabled"


def _any(number: int | None) -> str:
    return "any number" if number is None else f"{number:,}"


def _namespaces(bound: list[dict[str, Any]] | None) -> list[str] | None:
    if bound is None:
        return None
    return [b["namespace"] if b["write"] else f"{b['namespace']} (reading)" for b in bound]


def _own(found: dict[str, Any], field: str, unit: str) -> str:
    holds = found[f"effective_{field}"]
    return f"{_any(holds)} {unit} ({'of the tier' if found[field] is None else 'its own'})"


def _balance(quota: dict[str, Any]) -> str | None:
    if quota["granted"] is None:
        return None
    text = f"{quota['used']:,} used of {quota['granted']:,}"
    return f"{text}, {quota['overage']:,} of it above" if quota["overage"] else text


def _limit(state: dict[str, Any]) -> str:
    return f"{state['remaining']:,} left of {state['limit']:,} in {state['window_s']:,} s"


def _month(quota: dict[str, Any] | None) -> str | None:
    if quota is None:
        return None
    return f"{quota['remaining']:,} left of {quota['limit']:,} until {when(quota['resets_at'])}"
