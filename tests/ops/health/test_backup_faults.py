"""What is wrong with backups and drills: as the tables have it, and as the folder does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.client import Aegis, ask_aegis
from aegis.config import load_settings
from aegis.db import Database
from aegis.ops.backup.crypto import new_key
from aegis.ops.backup.mirror import mirror
from aegis.ops.backup.service import Backups
from aegis.ops.health import Health
from aegis.ops.health.of_backups import check_backups
from aegis.ops.scheduled import check_health
from tests.cluster import reachable_folder
from tests.ops.health.looking import look, objects
from tests.ops.statements import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as place:
        yield place


@pytest.fixture
def own(folder: Path, dsn: str) -> Backups:
    """Backups of the test's database, and a disk elsewhere for copies."""
    settings = load_settings(
        {},
        data_dir=folder / "data",
        database_url=dsn,
        embedder="none",
        backup_keys=new_key(),
        backup_destination=f"file://{folder}/elsewhere",
    )
    (folder / "elsewhere").mkdir()
    return Backups(settings, smoke=ask_aegis)


async def states(db: Database, backups: Backups) -> dict[str, str]:
    """Return the states of the checks of backups, the same from the tables and the folder."""
    ids = [f"backup-{name}" for name in _NAMES]
    report = await Health(db, backups.settings).check(only=ids)
    folder = await check_backups(backups)
    assert [(r.id, r.state) for r in report.results] == [(r.id, r.state) for r in folder]
    return {r.id.removeprefix("backup-"): r.state for r in report.results}


_NAMES = ("age", "verdict", "count", "proof", "copies", "drill", "recovery")


async def test_folder_and_tables_are_judged_alike_from_nothing_to_all_well(
    db: Database, own: Backups
) -> None:
    assert await states(db, own) == {
        "age": "critical", "verdict": "unknown", "count": "critical", "proof": "warning",
        "copies": "critical", "drill": "warning", "recovery": "unknown",
    }  # fmt: skip
    first = await own.create(verify=False)
    found = await states(db, own)
    assert (found["age"], found["verdict"], found["count"]) == ("critical", "warning", "warning")
    second = await own.create()
    await own.push(second.name)
    found = await states(db, own)
    assert (found["age"], found["verdict"], found["count"]) == ("ok", "ok", "ok")
    assert (found["copies"], found["proof"], found["drill"]) == ("ok", "warning", "warning")
    # A drill restores: it is a proof, too.
    await own.drill()
    assert set((await states(db, own)).values()) == {"ok"}
    (second.path / "database.dump").write_bytes(b"")
    await own.verify(second.name)
    found = await states(db, own)
    assert (found["verdict"], found["count"], found["proof"]) == ("critical", "warning", "warning")
    counted = await look(db, own.settings, "backup-count")
    assert objects(counted) == [second.name, ""]
    # What it refers to as the last one that was verified is gone, too.
    assert found["age"] == "critical"
    assert first.verdict == "not_verified"


async def test_a_manifest_that_rots_fails_its_backup_in_the_tables_too(
    db: Database, own: Backups
) -> None:
    await own.create()
    entry = await own.create()
    manifest = entry.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows":', b'"rowz":', 1))
    await own.hold((await own.list())[-1].name, "look at it")
    verdict = await look(db, own.settings, "backup-verdict")
    failed = objects(await look(db, own.settings, "backup-count"))
    # One is left, and that is few.
    assert failed == [entry.name, ""]
    # Its number is in the manifest: of the folder's entries it is the last one now.
    assert {r.id: r.state for r in await check_backups(own)}["backup-count"] == "warning"
    assert (verdict.state, objects(verdict)) == ("critical", [entry.name])
    assert "damaged" in verdict.observed


async def test_looking_at_an_old_backup_again_does_not_make_its_proof_younger(
    db: Database, own: Backups
) -> None:
    entry = await own.create()
    await own.verify(full=True)
    assert (await look(db, own.settings, "backup-proof")).state == "ok"
    proven = entry.path / "state.json"
    assert proven.exists()
    (known,) = await own.list()
    full = known.state.full
    assert full is not None

    def age(state: Any) -> Any:
        from datetime import timedelta

        return replace(state, full=replace(full, at=full.at - timedelta(days=9)))

    own.catalogue.change(entry.name, age)
    await own.verify()
    (known,) = await own.list()
    assert known.level == "full"
    found = await look(db, own.settings, "backup-proof")
    assert (found.state, "9.0 d ago" in found.observed) == ("warning", True)
    assert {r.id: r.state for r in await check_backups(own)}["backup-proof"] == "warning"


async def test_age_verdict_and_drills_by_their_limits(db: Database, settings: Settings) -> None:
    backup = (
        "INSERT INTO backups (name, number, label, snapshot_at, finished_at, format, compression,"
        " encrypted, bytes, table_count, row_count, server_version, verdict, problem, local,"
        " copied_to) VALUES ('{}', {}, 'x', now() - interval '{}', now(), 'custom', 'none', false,"
        " 1, 1, 1, '18', '{}', {}, true, '{{{}}}')"
    )
    await run(db, backup.format("b1", 1, "30 hours", "verified", "NULL", "sftp://box"))
    for check in ("backup-age", "backup-copies"):
        assert (await look(db, settings, check)).state == "warning"
        assert (await look(db, settings, check, f"{check}=40/50")).state == "ok"
        assert (await look(db, settings, check, f"{check}=1/30")).state == "critical"
    # One that could not be looked at is no backup yet, and its verdict says so.
    await run(db, backup.format("b2", 2, "1 hour", "not_verified", "'no room'", ""))
    assert (await look(db, settings, "backup-age")).state == "warning"
    verdict = await look(db, settings, "backup-verdict")
    assert (verdict.state, verdict.observed) == ("warning", "b2: not verified: no room")
    await run(db, backup.format("b3", 3, "0", "failed", "'a flipped bit'", ""))
    verdict = await look(db, settings, "backup-verdict")
    assert (verdict.state, "a flipped bit" in verdict.observed) == ("critical", True)
    await run(db, "UPDATE backups SET snapshot_at = now() + interval '30 days'")
    assert "a clock is wrong" in (await look(db, settings, "backup-age")).observed
    drill = (
        "INSERT INTO backup_drills VALUES (now() - interval '{}', 'b1', '{}', {}, 1, 'local', 'd')"
    )
    await run(db, drill.format("40 days", "verified", 4_000))
    assert (await look(db, settings, "backup-drill")).state == "warning"
    slow = await look(db, settings, "backup-recovery")
    assert (slow.state, slow.observed) == ("warning", "67 min, 1 s of work lost")
    await run(db, drill.format("2 days", "verified", 30))
    for check in ("backup-drill", "backup-recovery"):
        assert (await look(db, settings, check)).state == "ok"
    await run(db, drill.format("1 day", "not_verified", 30))
    assert (await look(db, settings, "backup-drill")).state == "warning"
    await run(db, drill.format("0", "failed", 30))
    failed = await look(db, settings, "backup-drill")
    assert (failed.state, failed.observed.startswith("failed")) == ("critical", True)


async def test_a_database_without_the_tables_could_not_be_checked(
    db: Database, settings: Settings
) -> None:
    await run(db, "DROP TABLE backups")
    report = await Health(db, settings).check(only=["backup-age", "backup-drill"])
    assert {r.state for r in report.results} == {"unknown"}
    assert "no table of backups" in report.results[0].observed


async def test_a_schema_of_before_proofs_is_mirrored_all_the_same(
    db: Database, own: Backups, dsn: str
) -> None:
    await run(db, "ALTER TABLE backups DROP COLUMN proven_at")
    await own.create()
    assert mirror(dsn, await own.list(), await own.drills())
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT verdict FROM backups")
        assert await cursor.fetchall() == [("verified",)]


async def test_a_drill_that_fails_is_told_to_people(db: Database, own: Backups) -> None:
    entry = await own.create()
    (entry.path / "database.dump").write_bytes(b"")
    assert (await own.drill(entry.name)).verdict == "failed"
    client = Aegis(db, None, own.settings)
    await check_health(client)
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT condition_id, condition_state FROM alerts "
            "WHERE starts_with(condition_id, 'backup-') ORDER BY 1"
        )
        told = dict(await cursor.fetchall())
    assert (told["backup-drill"], told["backup-age"]) == ("critical", "critical")
    # One that succeeds ends it.
    await own.create()
    assert (await own.drill()).verdict == "verified"
    await check_health(client)
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT FROM alerts WHERE condition_id = 'backup-drill'")
        # It had not lasted long enough to be told.
        assert await cursor.fetchone() is None
