"""Every backup is an anchor of the audit log: what was cut off after it is found by it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.client import connect
from aegis.errors import NotFound
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from aegis.security.audit.anchors import (
    add_anchor,
    anchor_path,
    read_anchors,
    read_anchors_of,
)
from aegis.security.audit.backing_up import keep_anchor
from tests.db.rows import execute
from tests.security.audit.test_files import aegis, dropping, environment, settings

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.security.audit.models import Verification
    from tests.cli.conftest import Shell
    from tests.conftest import Cluster

__all__ = ["aegis", "environment", "settings"]


async def issue(settings: Settings, count: int) -> None:
    """Write `count` rows."""
    async with connect(settings=settings) as client:
        for _ in range(count):
            await client.keys.issue("acme")


async def verify(
    settings: Settings, anchors: Path | None = None, *, complete: bool = True
) -> Verification:
    async with connect(settings=settings) as client:
        return await client.audit_log.verify(anchors=anchors, complete=complete)


def cut_off(dsn: str, after: int) -> None:
    """Take rows from the end, and put the head back, as the owner of the tables can."""
    execute(
        dsn,
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        "ALTER TABLE audit_head DISABLE TRIGGER USER",
        f"DELETE FROM audit_log WHERE seq > {after}",
        f"UPDATE audit_head SET seq = {after}, hash = (SELECT hash FROM audit_log "
        f"WHERE seq = {after})",
        "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER tr_audit_log_rows",
        "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER tr_audit_log_whole",
        "ALTER TABLE audit_head ENABLE ALWAYS TRIGGER tr_audit_head_rows",
        "ALTER TABLE audit_head ENABLE ALWAYS TRIGGER tr_audit_head_whole",
    )


def kinds(found: Verification) -> set[str]:
    return {finding.kind for finding in found.findings}


async def test_a_fresh_log_has_no_anchor_until_its_first_backup(settings: Settings) -> None:
    await issue(settings, 3)
    assert kinds(await verify(settings)) == {"no_anchor"}
    entry = await Backups(settings).create()
    assert (await verify(settings)).state == "ok"
    (known,) = read_anchors(settings).anchors
    assert (known.seq, known.from_backup, known.accepts) == (3, True, False)
    # The same again says nothing new.
    await Backups(settings).create(verify=False)
    assert len(read_anchors(settings).anchors) == 1
    assert entry.manifest is not None
    assert read_anchors_of(entry.path).anchors == (known,)
    assert read_anchors_of(entry.path / "manifest.json").anchors == (known,)


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_log_cut_off_after_a_restore_is_found_by_the_manifest_alone(
    settings: Settings, dsn: str, cluster: Cluster, encrypt: bool
) -> None:
    await issue(settings, 5)
    backups = Backups(settings)
    entry = await backups.create(replace(backups.wish(), encrypt=encrypt))
    with dropping(cluster):
        name = f"{conninfo_to_dict(dsn)['dbname']}_beside"
        await backups.restore(entry.name, Wanted(into=name))
        # Another machine: the secret came along, the data folder did not.
        secret = (settings.data_dir / "key-secret").read_text().strip()
        beside = replace(
            settings,
            database_url=make_conninfo(dsn, dbname=name),
            data_dir=settings.data_dir / "other",
            key_secret=secret,
        )
        assert (await verify(beside, entry.path)).state == "ok"
        cut_off(beside.database_url or "", 4)
        # Nothing in the database tells, and there is nothing else here to tell.
        assert kinds(await verify(beside)) == {"no_anchor"}
        found = await verify(beside, entry.path)
        assert (found.state, kinds(found)) == ("tampered", {"rolled_back"})
        # Rows in their place are no better.
        await issue(beside, 2)
        assert kinds(await verify(beside, entry.path)) == {"anchor"}


async def test_what_was_cut_off_since_a_backup_is_found_without_being_told_where(
    settings: Settings, dsn: str
) -> None:
    await issue(settings, 5)
    await Backups(settings).create(verify=False)
    cut_off(dsn, 3)
    assert kinds(await verify(settings)) == {"rolled_back"}
    # A backup of what is left hides nothing.
    await Backups(settings).create(verify=False)
    assert kinds(await verify(settings)) == {"rolled_back"}


async def test_a_manifest_whose_anchor_was_changed_is_no_anchor(
    settings: Settings, tmp_path: Path
) -> None:
    await issue(settings, 3)
    entry = await Backups(settings).create(verify=False)
    body = json.loads((entry.path / "manifest.json").read_bytes().split(b"\n")[0])
    copy = tmp_path / "manifest.json"
    for change in (
        {"seq": 2},
        {"hash": "00" * 32},
        {"from_backup": False},
        {"at": datetime(2020, 1, 1, tzinfo=UTC).isoformat()},
        {"signature": "00" * 32},
    ):
        changed = {**body, "audit_anchor": {**body["audit_anchor"], **change}}
        copy.write_text(json.dumps(changed) + "\nsha256 0\n")
        found = await verify(settings, copy)
        assert (found.state, kinds(found)) == ("tampered", {"anchor"}), change
    # One of a backup that had none, and what is no manifest at all.
    copy.write_text(json.dumps({**body, "audit_anchor": None}) + "\n")
    assert kinds(await verify(settings, copy)) == {"no_anchor"}
    copy.write_text(json.dumps({**body, "audit_anchor": "nonsense"}) + "\n")
    found = await verify(settings, copy)
    assert (found.state, kinds(found)) == ("warning", {"no_anchor", "anchor"})
    with pytest.raises(NotFound, match="There are no anchors at"):
        await verify(settings, tmp_path / "nowhere")


async def test_recent_rows_are_verified_from_where_somebody_looked_not_from_a_backup(
    settings: Settings, dsn: str
) -> None:
    await issue(settings, 2)
    async with connect(settings=settings) as client:
        await client.audit_log.keep()
    await issue(settings, 3)
    await Backups(settings).create(verify=False)
    assert [(a.seq, a.from_backup) for a in read_anchors(settings).anchors] == [
        (2, False),
        (5, True),
    ]
    execute(
        dsn,
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        "UPDATE audit_log SET object_id = 'other' WHERE seq = 4",
        "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER tr_audit_log_rows",
        "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER tr_audit_log_whole",
    )
    found = await verify(settings, complete=False)
    assert (found.from_seq, kinds(found)) == (3, {"changed"})


async def test_a_backup_that_a_restore_overtook_adds_no_anchor(settings: Settings) -> None:
    await issue(settings, 2)
    entry = await Backups(settings).create(verify=False)
    assert entry.manifest is not None
    (first,) = read_anchors(settings).anchors
    anchor_path(settings).unlink()
    async with connect(settings=settings) as client:
        head = await client.audit_log.head(keep=False)
        later = replace(head, seq=1, accepts=True, at=first.at + timedelta(seconds=1))
        add_anchor(settings, later)
    keep_anchor(settings, entry.manifest.audit_anchor)
    assert [a.seq for a in read_anchors(settings).anchors] == [1]


async def test_a_backup_is_made_where_its_anchor_cannot_be_signed_or_kept(
    settings: Settings, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    await issue(settings, 1)
    caplog.set_level("WARNING", logger="aegis.audit")
    anchor_path(settings).mkdir()
    entry = await Backups(settings).create()
    assert entry.verdict == "verified"
    assert "audit_not_anchored" in caplog.text
    caplog.clear()
    unsigned = replace(settings, key_secret="short")
    entry = await Backups(unsigned).create()
    assert (entry.verdict, entry.manifest and entry.manifest.audit_anchor) == ("verified", None)
    assert "audit_not_anchored" in caplog.text
    # A schema of before there was a log has none to anchor.
    execute(dsn, "DROP TABLE audit_log, audit_head, audit_seals, audit_verifications")
    entry = await Backups(settings).create()
    assert (entry.verdict, entry.manifest and entry.manifest.audit_anchor) == ("verified", None)


def test_the_command_takes_a_backup_as_its_anchor(aegis: Shell, dsn: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert aegis("keys", "issue", name).status == 0
    assert aegis("security", "audit", "verify").status == 1
    name = aegis("backup", "create", "--json").json["name"]
    assert aegis("security", "audit", "verify").status == 0
    copy = shutil.copytree(tmp_path / "data" / "backups" / name, tmp_path / name)
    assert aegis("security", "audit", "verify", "--anchors", str(copy)).status == 0
    cut_off(dsn, 1)
    found = aegis("security", "audit", "verify", "--anchors", str(copy / "manifest.json"))
    assert found.status == 2
    assert "was at row 2 before" in found.out
