"""What HTTP says about a verification: rate-limit headers, and problem documents. Pure.

`RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-11 has them; beside them
the `X-RateLimit-*` that older clients read, about the limit that is nearest to its end
(`X-RateLimit-Resource` names it, `X-RateLimit-Reset` is in seconds since 1970, as GitHub has
them). Problems are RFC 9457.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aegis.keys.models import CUSTOMER_MONTH, MONTH
from aegis.request import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.errors import AegisError
    from aegis.keys.models import QuotaState, Verification

__all__ = ["Refusal", "limit_headers", "refuse", "refuse_error", "refuse_nameless"]

#: https://www.iana.org/assignments/http-problem-types
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that refuses a call."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    quota: int
    window_s: int
    remaining: int
    wait_s: int
    exceeded: bool


def limit_headers(found: Verification, *, now_s: float) -> list[tuple[str, str]]:
    """Return the headers on limits; none where no limit was looked at."""
    policies = _policies(found)
    if not policies:
        return []
    headers = [
        ("RateLimit-Policy", ", ".join(f'"{p.name}";q={p.quota};w={p.window_s}' for p in policies)),
        ("RateLimit", ", ".join(f'"{p.name}";r={p.remaining};t={p.wait_s}' for p in policies)),
    ]
    nearest = min(policies, key=lambda p: (not p.exceeded, p.remaining / max(p.quota, 1)))
    headers += [
        ("X-RateLimit-Limit", str(nearest.quota)),
        ("X-RateLimit-Remaining", str(nearest.remaining)),
        ("X-RateLimit-Reset", str(math.ceil(now_s) + nearest.wait_s)),
        ("X-RateLimit-Resource", nearest.name),
    ]
    if found.retry_after_s is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(found.retry_after_s)))))
    return headers


def refuse(found: Verification, *, scope: str | None, now_s: float) -> Refusal:
    """Return the answer to a call that `found` refuses."""
    headers = limit_headers(found, now_s=now_s)
    match found.code:
        case "FORBIDDEN":
            need = f" {scope!r}" if scope else ""
            return _problem(
                403,
                "permission_denied",
                f"The key may not do this: it needs the scope{need}.",
                headers=[("WWW-Authenticate", 'Bearer realm="aegis", error="insufficient_scope"')],
            )
        case "QUOTA_EXCEEDED":
            return _problem(
                429,
                "quota_exceeded",
                f"{_whose(found)} quota of this month is used up; it is renewed at "
                f"{_renewal(found)}.",
                kind=QUOTA_EXCEEDED,
                headers=headers,
                members={"violated-policies": [p.name for p in _policies(found) if p.exceeded]},
            )
        case "RATE_LIMITED":
            names = [state.name for state in found.limits if state.exceeded]
            return _problem(
                429,
                "rate_limited",
                _rate_limited(found, names),
                kind=QUOTA_EXCEEDED,
                headers=headers,
                members={"violated-policies": names},
            )
        case "DISABLED":
            return _unknown("key_disabled", "The key was switched off; ask whoever issued it.")
        case "EXPIRED":
            return _unknown("key_expired", "The key has expired; ask for a new one.")
        case _:
            return _unknown("unauthenticated", "The key is not known; check it for a slip.")


def refuse_nameless() -> Refusal:
    """Return the answer to a call without a key."""
    return _problem(
        401,
        "unauthenticated",
        "Send a key as `Authorization: Bearer …`.",
        headers=[("WWW-Authenticate", 'Bearer realm="aegis"')],
    )


def refuse_error(error: AegisError, *, temporary: bool) -> Refusal:
    """Return the answer to a call whose key could not be verified; why is the log's business."""
    if temporary:
        return _problem(
            503,
            error.code,
            "Keys cannot be verified at the moment; try again shortly.",
            headers=[("Retry-After", "5")],
        )
    return _problem(500, error.code, "Keys cannot be verified; the server's log says why.")


def _policies(found: Verification) -> list[_Policy]:
    policies = [
        _Policy(
            state.name,
            state.limit,
            state.window_s,
            state.remaining,
            # A client that waits for `t` is to be admitted then: of a limit that refused the call,
            # `t` is when the call fits; of another, when it is whole again.
            math.ceil(state.reset_s if state.retry_after_s is None else state.retry_after_s),
            state.exceeded,
        )
        for state in found.limits
    ]
    for name, quota in ((MONTH, found.quota), (CUSTOMER_MONTH, found.customer_quota)):
        if quota is not None:
            policies.append(_month(name, quota))
    return policies


def _month(name: str, quota: QuotaState) -> _Policy:
    return _Policy(
        name,
        quota.limit,
        (quota.resets_at.date() - quota.period).days * 86_400,
        max(quota.remaining, 0),
        math.ceil(quota.reset_s),
        quota.exceeded,
    )


def _whose(found: Verification) -> str:
    shared = found.customer_quota
    return "The customer's" if shared is not None and shared.exceeded else "The key's"


def _renewal(found: Verification) -> str:
    quota = found.quota or found.customer_quota
    return quota.resets_at.strftime("%Y-%m-%dT%H:%M:%SZ") if quota else "its end"


def _rate_limited(found: Verification, names: list[str]) -> str:
    which = ", ".join(names)
    if found.retry_after_s is None:
        return f"The call costs more than {which} ever allows at once; make it smaller."
    return f"Too many calls for {which}; try again in {math.ceil(found.retry_after_s)} s."


def _unknown(code: str, detail: str) -> Refusal:
    # RFC 6750, 3.1: expired and revoked ones are `invalid_token`, too.
    return _problem(
        401,
        code,
        detail,
        headers=[("WWW-Authenticate", 'Bearer realm="aegis", error="invalid_token"')],
    )


def _problem(
    status: int,
    code: str,
    detail: str,
    *,
    kind: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    members: dict[str, Any] | None = None,
) -> Refusal:
    names = {401: "unauthenticated", 403: "permission_denied", 503: "unavailable"}
    document: dict[str, Any] = {
        "type": kind or f"urn:aegis:error:{names.get(status, code)}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
        **(members or {}),
    }
    request_id = REQUEST_ID.get()
    if request_id is not None:
        document["request_id"] = request_id
    body = json.dumps(document, ensure_ascii=False).encode()
    return Refusal(
        status=status,
        headers=[
            ("Content-Type", _MEDIA_TYPE),
            ("Content-Length", str(len(body))),
            *headers,
        ],
        body=body,
    )
