"""`aegis keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

NOBODY = "00000000-0000-4000-8000-000000000000"


def issue(aegis: Shell, *arguments: str) -> tuple[str, str]:
    done = aegis("keys", "issue", "acme", *arguments, "--json")
    assert done.status == 0, done.err
    return done.json["key"], done.json["record"]["id"]


def test_key_is_shown_once_and_never_again(aegis: Shell) -> None:
    done = aegis("keys", "issue", "acme", "--name", "Reports", "--scope", "a:b", "--scope", "c")
    key = done.out.strip()
    assert key.startswith("aegis_live_")
    assert "shown only now" in done.err
    page = aegis("keys", "list", "--json").json
    key_id = page["items"][0]["id"]
    assert page["items"][0]["scopes"] == ["a:b", "c"]
    for command in (("list",), ("list", "--json"), ("show", key_id), ("show", key_id, "--json"),
                    ("ledger", key_id, "--json"), ("disable", key_id, "--json"),
                    ("secrets", "--json")):  # fmt: skip
        shown = aegis("keys", *command)
        assert shown.status == 0, shown.err
        assert key not in shown.out + shown.err


def test_verdict_is_the_exit_status(aegis: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    key, key_id = issue(aegis, "--scope", "a:b", "--rate-limit", "2", "--monthly-quota", "3")
    found = aegis("keys", "verify", key, "--scope", "a:b", "--json")
    assert (found.status, found.json["code"]) == (0, "VALID")
    monkeypatch.setattr("sys.stdin", io.StringIO(key + "\n"))
    assert aegis("keys", "verify", "-", "--cost", "0").out.startswith("VALID")
    assert aegis("keys", "verify", key, "--scope", "x").status == 5
    limited = aegis("keys", "verify", key, "--cost", "2")
    assert (limited.status, limited.out.splitlines()[0]) == (6, "RATE_LIMITED")
    assert "Try again in" in limited.out
    assert aegis("keys", "verify", key, "--cost", "3").out.startswith("QUOTA_EXCEEDED")
    more = aegis("keys", "verify", key, "--limits",
                 '[{"name": "t", "limit": 5, "window_s": 60}]', "--json")  # fmt: skip
    assert [x["name"] for x in more.json["limits"]] == ["requests", "t"]
    aegis("keys", "disable", key_id)
    assert aegis("keys", "verify", key).status == 5


def test_life_of_a_key(aegis: Shell) -> None:
    key, key_id = issue(aegis, "--env", "test", "--tier", "developer")
    assert key.startswith("aegis_test_")
    assert aegis("keys", "rename", key_id, "New", "--json").json["name"] == "New"
    changed = aegis("keys", "update", key_id, "--rate-limit", "7", "--tier", "pro", "--json").json
    assert (changed["tier"], changed["rate_limit"]) == ("pro", 7)
    back = aegis("keys", "update", key_id, "--rate-limit", "tier", "--json").json
    assert back["effective_rate_limit"] == 1000
    ended = aegis("keys", "expire", key_id, "2099-01-01T00:00:00+00:00", "--json").json
    assert ended["expires_at"].startswith("2099")
    assert aegis("keys", "expire", key_id, "never", "--json").json["expires_at"] is None
    rotated = aegis("keys", "rotate", key_id, "--grace", "60", "--json").json
    assert rotated["key"].startswith("aegis_test_")
    assert "left of 1,000,500" in aegis("keys", "grant", key_id, "500").out
    assert "topup" in aegis("keys", "ledger", key_id).out
    assert "1,000,500" in aegis("keys", "show", key_id).out
    asked = aegis("keys", "revoke", key_id)
    assert (asked.status, "confirmation_needed" in asked.err) == (2, True)
    assert aegis("keys", "revoke", key_id, "--yes").status == 0
    assert aegis("keys", "enable", key_id).status == 4
    assert "revoked" in aegis("keys", "list").out


def test_customers_and_bindings(aegis: Shell) -> None:
    key, key_id = issue(aegis, "--namespace", "n", "--read-namespace", "m")
    shown = aegis("keys", "show", key_id).out
    assert "m (reading)" in shown
    freed = aegis("keys", "bind", key_id, "--anywhere", "--json").json
    assert freed["namespaces"] is None
    bound = aegis("keys", "bind", key_id, "--read-namespace", "m", "--json").json
    assert bound["namespaces"] == [{"namespace": "m", "write": False}]
    assert aegis("keys", "bind", key_id).status == 2
    assert aegis("keys", "bind", key_id, "--anywhere", "--namespace", "n").status == 2
    assert aegis("keys", "customers", "show", "acme").status == 3
    done = aegis("keys", "customers", "set", "acme", "--rate-limit", "50", "--monthly-quota", "3",
                 "--json")  # fmt: skip
    assert (done.json["rate_limit"], done.json["remaining"]) == (50, 3)
    assert "customer-month" not in aegis("keys", "verify", key).out
    assert aegis("keys", "verify", key, "--cost", "3").status == 6
    assert "2 used of" not in aegis("keys", "customers", "show", "acme").out
    assert aegis("keys", "customers", "grant", "acme", "4", "--json").json["remaining"] == 6
    assert "topup" in aegis("keys", "customers", "ledger", "acme").out
    assert "acme" in aegis("keys", "customers", "list").out
    off = aegis("keys", "customers", "set", "acme", "--monthly-quota", "none", "--json").json
    assert off["monthly_quota"] is None
    assert aegis("keys", "customers", "set", "acme", "--rate-limit", "many").status == 2


def test_tiers_and_secrets(aegis: Shell) -> None:
    issue(aegis)
    changed = aegis("keys", "tiers", "set", "pro", "--price-usd", "249.90", "--overage", "no",
                    "--monthly-quota", "none", "--json").json  # fmt: skip
    assert (changed["price_usd"], changed["overage_allowed"]) == ("249.90", False)
    assert changed["monthly_quota"] is None
    assert "249.90" in aegis("keys", "tiers", "list").out
    assert len(aegis("keys", "tiers", "list", "--json").json["items"]) == 4
    (one,) = aegis("keys", "secrets", "--json").json["items"]
    assert (one["keys"], one["current"]) == (1, True)
    assert len(aegis("keys", "secrets", "--add", "--json").json["items"]) == 2
    assert one["id"] in aegis("keys", "secrets").out


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("issue", "acme", "--tier", "gold"), 2, "tier is 'gold'; use one of free"),
        (("issue", "acme", "--rate-limit", "-5"), 2, "rate_limit is -5"),
        (("issue", "acme", "--expires", "2020-01-01T00:00:00+00:00"), 2, "which is past"),
        (("issue", "acme", "--limits", "{"), 2, "limits is not JSON"),
        (("list", "--enabled", "maybe"), 2, "use yes or no"),
        (("show", NOBODY), 3, "There is no key"),
        (("update", NOBODY, "--tier", "pro"), 3, "There is no key"),
        (("update", NOBODY), 2, "The change names nothing"),
        (("update", NOBODY, "--rate-limit", "many"), 2, "or tier"),
        (("tiers", "set", "gold", "--rate-limit", "5"), 2, "tier is 'gold'"),
        (("tiers", "set", "pro", "--monthly-quota", "many"), 2, "or none"),
        (("grant", NOBODY, "5"), 3, "There is no key"),
    ],
)
def test_what_makes_no_sense_ends_in_a_line(
    aegis: Shell, arguments: tuple[str, ...], status: int, line: Any
) -> None:
    done = aegis("keys", *arguments)
    assert (done.status, done.out) == (status, "")
    assert line in done.err
    assert len(done.err.splitlines()) == 1
