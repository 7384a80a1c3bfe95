"""Keys as their operator manages them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import ConfigError, Conflict, InvalidInput, NotFound
from aegis.keys import Keys
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

NOBODY = "00000000-0000-4000-8000-000000000000"


async def code(keys: Keys, key: str, **arguments: Any) -> str:
    return (await keys.verify(key, **arguments)).code


async def test_key_itself_is_stored_and_shown_nowhere(
    keys: Keys, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        issued = await keys.issue("acme", name="n")
        found = await keys.verify(issued.key)
        listed = await keys.list()
    secret = issued.key[19:]
    for text in (repr(issued), repr(issued.record), repr(found), repr(listed), caplog.text):
        assert secret not in text
    tables = await rows(
        db, "SELECT string_agg(t::text, ' ') FROM (SELECT k::text FROM api_keys k) AS t"
    )
    assert secret not in tables[0][0]
    assert issued.record.key_prefix == issued.key[:19]


async def test_own_limits_go_before_the_tier_s_and_can_be_given_back(keys: Keys) -> None:
    issued = await keys.issue("acme", tier="developer", rate_limit=7)
    assert (issued.record.rate_limit, issued.record.effective_rate_limit) == (7, 7)
    assert issued.record.effective_monthly_quota == 50_000
    changed = await keys.update(issued.record.id, rate_limit=None, monthly_quota=9)
    assert (changed.rate_limit, changed.effective_rate_limit) == (None, 300)
    assert (changed.monthly_quota, changed.effective_monthly_quota) == (9, 9)
    await keys.tiers.set("developer", rate_limit=301)
    assert (await keys.verify(issued.key)).limits[0].limit == 301


async def test_list_is_filtered_and_paged_newest_first(keys: Keys) -> None:
    ids = [
        (await keys.issue(f"c{n % 2}", tier="pro" if n < 2 else "free")).record.id for n in range(5)
    ]
    await keys.disable(ids[0])
    assert [k.id for k in await keys.list()] == ids[::-1]
    assert [k.id for k in await keys.list(limit=2, offset=2)] == [ids[2], ids[1]]
    assert [k.id for k in await keys.list(customer_id="c1")] == [ids[3], ids[1]]
    assert [k.id for k in await keys.list(tier="pro", enabled=True)] == [ids[1]]
    assert [k.id for k in await keys.list(enabled=False)] == [ids[0]]


async def test_rotated_key_and_its_successor_are_one_key_until_the_grace_ends(
    keys: Keys, db: Database
) -> None:
    first = await keys.issue("acme", rate_limit=3, scopes=["a"])
    second = await keys.rotate(first.record.id, grace_s=3600)
    third = await keys.rotate(first.record.id, grace_s=3600)
    assert third.record.id == first.record.id
    assert third.record.old_key_until is not None
    # Three keys, one rate: they are counted together.
    assert [await code(keys, k.key, scope="a") for k in (first, second, third)] == ["VALID"] * 3
    found = await keys.verify(first.key)
    assert found.code == "RATE_LIMITED"
    await rows(db, "UPDATE api_key_meters SET rate_backlog = 0")
    await rows(db, "UPDATE api_key_old_hashes SET valid_until = now() - interval '1 s'")
    fresh = Keys(db, keys._verifier._settings)
    assert [await code(fresh, k.key) for k in (first, second, third)] == [
        "NOT_FOUND", "NOT_FOUND", "VALID",
    ]  # fmt: skip


async def test_rotation_without_grace_ends_all_older_keys(keys: Keys) -> None:
    first = await keys.issue("acme")
    second = await keys.rotate(first.record.id)
    third = await keys.rotate(first.record.id, grace_s=0)
    assert [await code(keys, k.key) for k in (first, second, third)] == [
        "NOT_FOUND", "NOT_FOUND", "VALID",
    ]  # fmt: skip


async def test_rotations_at_once_follow_each_other(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=100)
    made = await asyncio.gather(*(keys.rotate(issued.record.id) for _ in range(5)))
    assert {await code(keys, k.key) for k in (issued, *made)} == {"VALID"}


async def test_revoked_key_stays_revoked_and_its_older_ones_too(keys: Keys) -> None:
    first = await keys.issue("acme")
    second = await keys.rotate(first.record.id)
    key_id = first.record.id
    record = await keys.revoke(key_id)
    assert (record.enabled, record.revoked_at is not None) == (False, True)
    assert await keys.revoke(key_id) == record
    assert await code(keys, first.key) == "NOT_FOUND"
    assert await code(keys, second.key) == "DISABLED"
    for change in (
        keys.enable(key_id), keys.rename(key_id, "x"), keys.rotate(key_id),
        keys.expire(key_id, None), keys.update(key_id, tier="pro"),
    ):  # fmt: skip
        with pytest.raises(Conflict) as told:
            await change
        assert told.value.code == "key_revoked"


async def test_expiry_is_reached_to_the_moment(keys: Keys) -> None:
    issued = await keys.issue("acme", expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    assert await code(keys, issued.key) == "VALID"
    async with asyncio.timeout(5):
        while await code(keys, issued.key) == "VALID":
            await asyncio.sleep(0.05)
    assert await code(keys, issued.key) == "EXPIRED"
    await keys.expire(issued.record.id, None)
    assert await code(keys, issued.key) == "VALID"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"customer_id": ""}, "customer_id"), ({"customer_id": "x" * 101}, "customer_id"),
        ({"customer_id": "a\x00b"}, "customer_id"), ({"tier": "gold"}, "tier"),
        ({"tier": None}, "tier"), ({"environment": "prod"}, "environment"),
        ({"rate_limit": 0}, "rate_limit"), ({"rate_limit": -1}, "rate_limit"),
        ({"rate_limit": 2.5}, "rate_limit"), ({"rate_limit": True}, "rate_limit"),
        ({"monthly_quota": -1}, "monthly_quota"), ({"monthly_quota": 2**31}, "monthly_quota"),
        ({"name": "x" * 201}, "name"), ({"name": "a\nb"}, "name"),
        ({"scopes": "a:b"}, "scopes"), ({"scopes": ["a b"]}, "scopes"),
        ({"scopes": ["*:a"]}, "scopes"), ({"scopes": ["a:**"]}, "scopes"),
        ({"scopes": [7]}, "scopes"), ({"limits": []}, "limits"),
        ({"limits": {"x": {"limit": -1, "window_s": 1}}}, "limit"),
        ({"limits": {"x": 5}}, "'x'"), ({"limits": {"x y": {"limit": 1, "window_s": 1}}}, "limits"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "which is past"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),  # noqa: DTZ001
        ({"expires_at": datetime.max.replace(tzinfo=UTC)}, "expires_at"),
    ],
)  # fmt: skip
async def test_key_that_makes_no_sense_is_not_issued(
    keys: Keys, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput, match=field):
        given: dict[str, Any] = {"customer_id": "acme", **arguments}
        await keys.issue(**given)
    assert await keys.list() == []


@pytest.mark.parametrize(
    "changes", [{}, {"enabled": True}, {"key_hash": "x"}, {"tier": "gold"}, {"rate_limit": -5}]
)
async def test_change_that_makes_no_sense_is_refused(keys: Keys, changes: dict[str, Any]) -> None:
    issued = await keys.issue("acme")
    with pytest.raises(InvalidInput):
        await keys.update(issued.record.id, **changes)
    assert await keys.get(issued.record.id) == issued.record


@pytest.mark.parametrize("grace", [-1, 10**9, 1.5])
async def test_grace_that_makes_no_sense_is_refused(keys: Keys, grace: Any) -> None:
    issued = await keys.issue("acme")
    with pytest.raises(InvalidInput, match="grace_s"):
        await keys.rotate(issued.record.id, grace_s=grace)
    assert await code(keys, issued.key) == "VALID"


async def test_unknown_key_is_not_found_by_anything(keys: Keys) -> None:
    for call in (
        keys.get(NOBODY), keys.update(NOBODY, tier="pro"), keys.disable(NOBODY),
        keys.revoke(NOBODY), keys.rotate(NOBODY), keys.rename("' OR ''='", "x"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gold", {"rate_limit": 5}), ("free", {}), ("free", {"name": "x"}),
        ("free", {"rate_limit": -1}), ("free", {"rate_limit": None}),
        ("free", {"monthly_quota": -1}), ("free", {"price_usd": "-1"}),
        ("free", {"price_usd": "1.001"}), ("free", {"price_usd": "NaN"}),
        ("free", {"price_usd": 1.5}), ("free", {"price_usd": "x"}),
        ("free", {"rollover_limit": -1}), ("free", {"overage_allowed": "yes"}),
    ],
)  # fmt: skip
async def test_tier_that_makes_no_sense_is_refused(
    keys: Keys, name: str, changes: dict[str, Any]
) -> None:
    before = await keys.tiers.list()
    with pytest.raises(InvalidInput):
        await keys.tiers.set(name, **changes)
    assert await keys.tiers.list() == before


async def test_tiers_are_in_one_table_with_exact_prices(keys: Keys) -> None:
    assert [t.name for t in await keys.tiers.list()] == ["free", "developer", "pro", "enterprise"]
    tier = await keys.tiers.set("developer", price_usd="29.90", monthly_quota=None)
    assert (str(tier.price_usd), tier.monthly_quota) == ("29.90", None)


async def test_secret_of_the_setting_is_used_and_no_file_is_made(
    db: Database, settings: Settings
) -> None:
    given = replace(settings, key_secret="s" * 32)
    issued = await Keys(db, given).issue("acme")
    assert not (settings.data_dir / "key-secret").exists()
    newer = Keys(db, replace(settings, key_secret=f"{'s' * 32},{'t' * 32}"))
    assert await code(newer, issued.key) == "VALID"
    with pytest.raises(ConfigError, match="append a new one"):
        await newer.add_secret()
    for unfit in ("short", " , "):
        with pytest.raises(ConfigError, match="AEGIS_KEY_SECRET"):
            await Keys(db, replace(settings, key_secret=unfit)).issue("acme")


async def test_two_processes_agree_on_one_secret(db: Database, settings: Settings) -> None:
    both = [Keys(db, settings), Keys(db, settings)]
    issued = [await k.issue("acme") for k in both]
    assert [await code(k, i.key) for k in both for i in issued] == ["VALID"] * 4
    await both[0].add_secret()
    late = await both[0].issue("acme")
    assert await code(both[1], late.key) == "VALID"


async def test_secret_that_cannot_be_written_is_told(
    db: Database, settings: Settings, tmp_path: Any
) -> None:
    (tmp_path / "file").write_text("")
    keys = Keys(db, replace(settings, data_dir=tmp_path / "file"))
    with pytest.raises(ConfigError) as told:
        await keys.issue("acme")
    assert told.value.code == "data_dir_not_writable"
