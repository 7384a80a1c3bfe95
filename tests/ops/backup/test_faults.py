"""Faults of disks, stores, sandboxes and keys, each really made, seen, and made good again."""

from __future__ import annotations

import http.client
import random
import subprocess
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from aegis.errors import OpsError, Unavailable
from aegis.ops.backup import creating
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.destinations import s3
from aegis.ops.backup.programs import find_program
from aegis.ops.backup.schedule import monthly_drill
from aegis.ops.backup.sealed import write_sealed
from aegis.ops.restore.models import Wanted
from tests.db.rows import execute, value
from tests.ops.backup.conftest import varied
from tests.ops.backup.places import disk, s3_client
from tests.ops.health.looking import look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.db import Database
    from aegis.ops.backup.models import Entry
    from aegis.ops.backup.service import Backups

DAY = timedelta(days=1)


async def test_bits_that_pg_restore_does_not_miss_are_found_by_the_hashes(
    backups: Backups, full_dsn: str
) -> None:
    """An uncompressed archive with other values in it reads as well as the right one."""
    execute(
        full_dsn,
        "CREATE TABLE notes AS SELECT n, 'sesame sesame sesame' AS t "
        "FROM generate_series(1, 5000) n",
    )
    entry = await backups.create(Wish(compression="none"))
    file = entry.path / "database.dump"
    sound = file.read_bytes()
    pg_restore, _ = find_program("pg_restore", 16)
    rng = random.Random(3)
    places = [at for at in range(len(sound)) if sound.startswith(b"sesame", at)]
    missed = 0
    for _ in range(24):
        at = rng.choice(places) + rng.randrange(6)
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        read = subprocess.run([pg_restore, "--file=/dev/null", file], check=False)
        missed += read.returncode == 0
        assert (await backups.verify(entry.name)).verdict == "failed"
    # That is what makes it a fault: the program reads every one of them without a word.
    assert missed == 24
    file.write_bytes(sound)
    assert (await backups.verify(entry.name)).verdict == "verified"


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE doomed",
        "ALTER TABLE doomed ADD COLUMN more int DEFAULT 7",
        "ALTER TABLE doomed ALTER COLUMN n TYPE bigint",
        "ALTER TABLE doomed RENAME TO renamed",
    ],
)
async def test_ddl_during_a_backup_leaves_it_consistent(
    backups: Backups, full_dsn: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    execute(full_dsn, "CREATE TABLE doomed AS SELECT generate_series(1, 100) AS n")
    others: list[threading.Thread] = []
    real: Any = creating.find_program

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        if not others:
            others.append(threading.Thread(target=execute, args=(full_dsn, statement)))
            others[0].start()
            while not value(full_dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
        return real(*arguments, **more)

    monkeypatch.setattr(creating, "find_program", meanwhile)
    entry = await backups.create()
    others[0].join()
    monkeypatch.undo()
    proven = await backups.verify(entry.name, full=True)
    assert (proven.verdict, proven.level) == ("verified", "full"), proven.state.full


async def aged(backups: Backups, days: list[int]) -> list[Entry]:
    """Make a backup for each, so many days old by its manifest, oldest first."""
    entries = [await backups.create() for _ in days]
    for entry, age in zip(entries, days, strict=True):
        assert entry.manifest is not None
        old = replace(entry.manifest, snapshot_at=datetime.now(UTC) - age * DAY)
        write_sealed(entry.path / "manifest.json", old)
    return entries


def _rot(entry: Entry) -> None:
    file = entry.path / "database.dump"
    text = file.read_bytes()
    file.write_bytes(text[:-50] + bytes([text[-50] ^ 4]) + text[-49:])


@pytest.mark.usefixtures("dropped")
async def test_when_all_newer_backups_rot_unseen_the_last_good_one_stays(
    backups: Backups, db: Database
) -> None:
    """Their verdicts still say verified: nobody has looked since."""
    own = varied(backups, backup_keep_at_least=1)
    oldest, *newer = await aged(own, [100, 80, 60, 40, 20])
    for entry in newer:
        _rot(entry)
    assert {e.verdict for e in await own.list()} == {"verified"}
    assert oldest.name in {p.choice.name for p in await own.plan_prune() if p.choice.goes}
    await own.prune()
    left = {e.name: e.verdict for e in await own.list()}
    assert left[oldest.name] == "verified"
    assert set(left.values()) <= {"verified", "failed"}
    assert (await look(db, own.settings, "backup-verdict")).state == "critical"
    back = await own.restore(oldest.name, Wanted(into="from_the_oldest"))
    assert back.verdict == "verified"
    # A good one again, and the rest may go.
    fresh = await own.create()
    await own.prune()
    assert (await own.get("latest")).name == fresh.name
    assert (await own.verify(fresh.name)).verdict == "verified"


async def test_a_newest_backup_that_cannot_be_read_lets_nothing_go(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegis.ops.backup import pruning

    own = varied(backups, backup_keep_at_least=1)
    entries = await aged(own, [100, 80, 60, 1])

    def unreadable(*_: object) -> str:
        raise OSError(5, "Input/output error", str(entries[-1].path))

    monkeypatch.setattr(pruning, "check_files", unreadable)
    with pytest.raises(OpsError, match="Nothing was pruned") as refused:
        await own.prune()
    assert refused.value.code == "backup_unreadable"
    assert len(await own.list()) == 4
    monkeypatch.undo()
    await own.prune()
    assert [e.name for e in await own.list()] == [entries[-1].name]


async def test_a_sandbox_that_cannot_start_is_no_verdict_and_an_alarm(
    backups: Backups, db: Database
) -> None:
    entry = await backups.create()
    sandboxes = backups.settings.data_dir / "sandboxes"
    sandboxes.mkdir(parents=True, mode=0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", sandboxes]
    subprocess.run(mount, check=True)
    try:
        found = await backups.verify(entry.name, full=True)
        assert found.verdict == "not_verified"
        assert found.state.full is not None
        assert found.state.full.checks[-1].name == "server"
        alarm = await look(db, backups.settings, "backup-verdict")
        assert (alarm.state, "not verified" in alarm.observed) == ("warning", True)
        assert list(sandboxes.glob("sandbox-*")) == []
    finally:
        subprocess.run(["umount", "-l", sandboxes], check=True)
    assert (await backups.verify(entry.name, full=True)).verdict == "verified"
    assert (await look(db, backups.settings, "backup-verdict")).state == "ok"


async def test_a_drill_finds_out_that_the_key_is_gone(backups: Backups) -> None:
    entry = await backups.create(Wish(encrypt=True))
    without = varied(backups, backup_keys=None)
    with pytest.raises(OpsError, match="drill"):
        await monthly_drill(without)
    (drill,) = await without.drills()
    assert (drill.backup, drill.verdict) == (entry.name, "not_verified")
    assert "AEGIS_BACKUP_KEYS" in drill.detail
    assert "recovered in" in await monthly_drill(backups)
    assert [drill.verdict for drill in await backups.drills()] == ["not_verified", "verified"]


@dataclass
class Throttle:
    """A proxy before a store that answers some calls as one that is asked too often."""

    target: str
    #: Part of the method and path of what is refused, and how many times yet.
    what: str = ""
    times: int = 0
    refused: list[str] = field(default_factory=list[str])

    def handler(self) -> type[BaseHTTPRequestHandler]:
        throttle = self
        host, port = str(urlsplit(self.target).hostname), urlsplit(self.target).port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                line = f"{self.command} {self.path}"
                if throttle.times and throttle.what in line:
                    throttle.times -= 1
                    throttle.refused.append(line)
                    self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
                    return
                upstream = http.client.HTTPConnection(host, port, timeout=30)
                hop = ("connection", "expect")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in hop}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                self._answer(answer.status, answer.getheaders(), answer.read())
                upstream.close()

            def _answer(self, status: int, headers: list[tuple[str, str]], text: bytes) -> None:
                self.send_response(status)
                left_out = ("content-length", "transfer-encoding", "connection", "date", "server")
                length = str(len(text))
                for name, content in headers:
                    if name.lower() == "content-length" and self.command == "HEAD":
                        length = content
                    if name.lower() not in left_out:
                        self.send_header(name, content)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        return Handler


def _at_once(*_: object) -> None:
    """Wait for nothing."""


@pytest.fixture
def throttled(store: dict[str, Any]) -> Iterator[tuple[Throttle, dict[str, Any]]]:
    """The store behind a proxy, and the settings that go through it."""
    throttle = Throttle(store["backup_s3_endpoint"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), throttle.handler())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield throttle, {**store, "backup_s3_endpoint": address}
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.parametrize("call", ["PUT", "GET", "HEAD"])
async def test_a_store_that_wants_patience_gets_it(
    backups: Backups, throttled: tuple[Throttle, dict[str, Any]], call: str
) -> None:
    throttle, settings = throttled
    own = varied(backups, **settings)
    entry = await own.create()
    throttle.what, throttle.times = call, 3
    assert len((await own.push(entry.name)).state.copies) == 1
    assert len(throttle.refused) == 3
    assert await own.remote() == [entry.name]


async def test_a_store_that_throttles_for_good_has_no_copy_and_no_parts_once_it_is_forgotten(
    backups: Backups,
    full_dsn: str,
    throttled: tuple[Throttle, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3, "WHOLE", 1 << 20)
    monkeypatch.setattr(s3, "PART", 5 << 20)
    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b "
        "FROM generate_series(1, 200000)",
    )
    throttle, settings = throttled
    own = varied(backups, **settings, backup_keep_at_least=1)
    plain = varied(own, backup_compression="none")
    entry, *_, newer = await aged(plain, [100, 70, 40, 1])
    throttle.what, throttle.times = "partNumber=2", 1_000
    with pytest.MonkeyPatch.context() as quick, pytest.raises(Unavailable) as down:
        quick.setattr("time.sleep", _at_once)
        quick.setattr("aegis.ops.backup.copying._Meter.pause", _at_once)
        await own.push(entry.name)
    assert down.value.code == "backup_destination_down"
    assert len(throttle.refused) >= 3
    assert (await own.get(entry.name)).state.copies == ()
    assert await own.remote() == []
    throttle.times = 0
    bucket = settings["backup_destination"].split("/")[2]
    client = s3_client(settings)
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    # It rots here before the upload is taken up again, and goes; its parts must not stay for ever.
    _rot(entry)
    await own.verify(entry.name)
    await own.push(newer.name)
    await own.prune()
    assert entry.name not in [e.name for e in await own.list()]
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


async def test_a_disk_elsewhere_that_is_full_has_no_copy_and_takes_one_when_it_has_room(
    backups: Backups, full_dsn: str, tmp_path: Path
) -> None:
    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS a FROM generate_series(1, 300000)",
    )
    own = varied(backups, **disk(tmp_path))
    entry = await own.create(Wish(compression="none"))
    where = tmp_path / "disk"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", where], check=True)
    try:
        with pytest.raises((OpsError, Unavailable)) as full:
            await own.push(entry.name)
        assert "space" in full.value.message
        assert await own.remote() == []
        assert (await own.get(entry.name)).state.copies == ()
        subprocess.run(["mount", "-o", "remount,size=200m", where], check=True)
        assert len((await own.push(entry.name)).state.copies) == 1
    finally:
        subprocess.run(["umount", "-l", where], check=True)
