"""What HTTP says about a verification."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from aegis.errors import Unavailable
from aegis.keys.headers import limit_headers, refuse, refuse_error, refuse_nameless
from aegis.keys.models import LimitState, QuotaState, Verification

BURST = LimitState(name="burst", limit=60, window_s=60, remaining=12, reset_s=6.2)
MONTH = QuotaState(
    period=date(2026, 11, 1), limit=10_000, remaining=8123, overage=0,
    resets_at=datetime(2026, 12, 1, tzinfo=UTC), reset_s=951_232.5,
)  # fmt: skip


def refused(**fields: Any) -> Verification:
    return Verification(valid=False, **fields)


def test_headers_are_those_of_the_draft() -> None:
    found = Verification(valid=True, code="VALID", limits=[BURST], quota=MONTH)
    assert dict(limit_headers(found, now_s=1000.0)) == {
        "RateLimit-Policy": '"burst";q=60;w=60, "month";q=10000;w=2592000',
        "RateLimit": '"burst";r=12;t=7, "month";r=8123;t=951233',
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "12",
        "X-RateLimit-Reset": "1007",
        "X-RateLimit-Resource": "burst",
    }


def test_nothing_is_said_where_no_limit_was_looked_at() -> None:
    assert limit_headers(refused(code="NOT_FOUND"), now_s=0) == []
    assert limit_headers(Verification(valid=True, code="VALID", checked=False), now_s=0) == []


def test_limited_call_is_told_which_limit_and_when() -> None:
    empty = LimitState(
        name="burst", limit=60, window_s=60, remaining=0, reset_s=60.0, retry_after_s=0.4,
        exceeded=True,
    )  # fmt: skip
    found = refused(code="RATE_LIMITED", limits=[empty], quota=MONTH, retry_after_s=0.4)
    answer = refuse(found, scope=None, now_s=1000.0)
    headers, body = dict(answer.headers), json.loads(answer.body)
    assert answer.status == body["status"] == 429
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(answer.body)
    # A client that waits for `t` or for Retry-After waits equally long.
    assert headers["RateLimit"].startswith('"burst";r=0;t=1, "month"')
    assert headers["Retry-After"] == "1"
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["violated-policies"] == ["burst"]
    assert body["code"] == "rate_limited"


def test_call_that_never_fits_is_not_told_to_wait() -> None:
    state = LimitState(name="b", limit=5, window_s=60, remaining=5, reset_s=0.0, exceeded=True)
    answer = refuse(refused(code="RATE_LIMITED", limits=[state]), scope=None, now_s=0)
    assert "Retry-After" not in dict(answer.headers)
    assert "make it smaller" in json.loads(answer.body)["detail"]


def test_spent_quota_violates_the_month() -> None:
    month = replace(MONTH, exceeded=True)
    spent = refused(code="QUOTA_EXCEEDED", limits=[BURST], quota=month, retry_after_s=951_232.5)
    answer = refuse(spent, scope=None, now_s=0)
    body = json.loads(answer.body)
    assert (answer.status, body["violated-policies"]) == (429, ["month"])
    assert dict(answer.headers)["Retry-After"] == "951233"
    assert "2026-12-01T00:00:00Z" in body["detail"]


@pytest.mark.parametrize(
    ("code", "status", "named", "challenge"),
    [
        ("NOT_FOUND", 401, "unauthenticated", "invalid_token"),
        ("DISABLED", 401, "key_disabled", "invalid_token"),
        ("EXPIRED", 401, "key_expired", "invalid_token"),
        ("FORBIDDEN", 403, "permission_denied", "insufficient_scope"),
    ],
)
def test_who_may_not_is_told_why(code: Any, status: int, named: str, challenge: str) -> None:
    answer = refuse(refused(code=code), scope="a:b", now_s=0)
    body = json.loads(answer.body)
    assert (answer.status, body["code"]) == (status, named)
    assert challenge in dict(answer.headers)["WWW-Authenticate"]
    assert ("a:b" in body["detail"]) == (code == "FORBIDDEN")


def test_trouble_of_ours_is_not_told_to_callers() -> None:
    error = Unavailable("PostgreSQL at aegis@10.0.0.5 does not answer.", code="db_unreachable")
    answer = refuse_error(error, temporary=True)
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
    assert b"10.0.0.5" not in answer.body
    assert refuse_error(error, temporary=False).status == 500
    assert refuse_nameless().status == 401
