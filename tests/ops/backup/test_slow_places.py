"""A place for copies that is slow or stops: an end in time, and nothing else waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from aegis.errors import Unavailable
from aegis.ops.backup.destinations import pace, sftp
from tests.db.rows import execute
from tests.ops.backup.conftest import varied
from tests.ops.backup.slow import Fault, Line, line_to
from tests.ops.backup.test_faults import aged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.ops.backup.service import Backups

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["sftp", "s3"])
def slow(request: pytest.FixtureRequest) -> Iterator[tuple[Line, dict[str, Any]]]:
    """A real server, and the settings that reach it by a line of the test's."""
    if request.param == "s3":
        settings = request.getfixturevalue("store")
        with line_to(urlsplit(settings["backup_s3_endpoint"]).port or 0) as line:
            yield line, {**settings, "backup_s3_endpoint": f"http://127.0.0.1:{line.port}"}
        return
    server, settings = request.getfixturevalue("box")
    with line_to(server.port) as line:
        known = settings["backup_sftp_known_hosts"]
        known.write_text(known.read_text().replace(str(server.port), str(line.port)))
        address = settings["backup_destination"].replace(str(server.port), str(line.port))
        yield line, {**settings, "backup_destination": address}


@pytest.fixture
def big(full_dsn: str) -> None:
    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b "
        "FROM generate_series(1, 60000)",
    )


def _at_once(*_: object) -> None:
    """Wait for nothing."""


@pytest.mark.parametrize("up", [True, False], ids=["sending", "reading-back"])
@pytest.mark.parametrize("fault", ["stall", "trickle", "reset"])
async def test_it_ends_in_time_and_what_arrived_in_part_is_no_copy(
    backups: Backups,
    big: None,
    slow: tuple[Line, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    up: bool,
) -> None:
    line, settings = slow
    own = varied(backups, **settings, backup_compression="none", backup_keep_at_least=1)
    old, new = await aged(own, [100, 1])
    await own.push(old.name)
    monkeypatch.setattr(pace, "STALL_S", 3.0)
    monkeypatch.setattr(pace, "SLOWEST", 1 << 20)
    monkeypatch.setattr("aegis.ops.backup.copying._Meter.pause", _at_once)
    line.break_(fault, up=up, after=1 << 20)
    async with asyncio.timeout(300):
        with pytest.raises(Unavailable) as down:
            await own.push(new.name)
    assert line.met.is_set()
    assert down.value.code == "backup_destination_down"
    assert "\n" not in down.value.message
    line.heal()
    monkeypatch.undo()
    assert (await own.get(new.name)).state.copies == ()
    assert await own.remote() == [old.name]
    # It is older than copies are kept, and the only good one that there is.
    await own.prune()
    assert await own.remote() == [old.name]
    assert (await own.get(new.name)).local
    assert len((await own.push(new.name)).state.copies) == 1
    assert await own.remote() == [old.name, new.name]


async def test_nothing_else_waits_for_it_and_whoever_gives_up_is_let_go(
    backups: Backups,
    big: None,
    slow: tuple[Line, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line, settings = slow
    monkeypatch.setattr(pace, "STALL_S", 600.0)
    monkeypatch.setattr(sftp, "_KEEPALIVE_S", 600.0)
    own = varied(backups, **settings, backup_compression="none")
    old, new = await aged(own, [100, 1])
    await own.push(old.name)
    line.break_("stall", up=True, after=1 << 20)
    pushing = asyncio.create_task(own.push(new.name))
    assert await asyncio.to_thread(line.met.wait, 60)
    other = varied(own, backup_destination=None)
    made = await other.create()
    assert made.verdict == "verified"
    assert (await other.verify(new.name)).verdict == "verified"
    await other.prune()
    assert not pushing.done()
    async with asyncio.timeout(30):
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
    line.heal()
    assert await own.remote() == [old.name]
    assert len((await own.push(new.name)).state.copies) == 1


async def test_a_backup_is_made_while_copies_are_removed_slowly(
    backups: Backups, slow: tuple[Line, dict[str, Any]]
) -> None:
    line, settings = slow
    own = varied(backups, **settings, backup_keep_at_least=1)
    entries = await aged(own, [100, 70, 40, 1])
    for entry in entries:
        await own.push(entry.name)
    line.break_("stall", up=False, after=0)
    pruning = asyncio.create_task(own.prune())
    assert await asyncio.to_thread(line.met.wait, 60)
    assert (await own.create()).verdict == "verified"
    pruning.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await pruning
    line.heal()
    await own.prune()
    assert await own.remote() == [entry.name for entry in entries[1:]]


async def test_a_backup_that_is_made_leaves_a_drill_what_it_fetched(
    backups: Backups, big: None, slow: tuple[Line, dict[str, Any]]
) -> None:
    line, settings = slow
    own = varied(backups, **settings, backup_compression="none")
    entry = await own.push((await own.create()).name)
    line.break_("stall", up=False, after=1 << 20)
    drilling = asyncio.create_task(own.drill(remote=True))
    assert await asyncio.to_thread(line.met.wait, 60)
    fetched = {p for p in own.catalogue.folder.rglob("*") if "drill" in str(p) and p.is_file()}
    assert fetched
    await own.create()
    assert all(path.exists() for path in fetched)
    drilling.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await drilling
    assert not any(path.exists() for path in fetched)
    # One that was killed has nobody who holds its folder.
    left = own.catalogue.folder / ".drill-killed"
    left.mkdir()
    await own.create()
    assert not left.exists()
    line.heal()
    assert entry.name in await own.remote()
