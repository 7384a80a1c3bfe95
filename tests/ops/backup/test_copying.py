"""A copy elsewhere counts once all of it came back as it was sent."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from aegis.errors import ConfigError, NotFound, OpsError, Unavailable
from aegis.ops.backup import copying
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.destinations import open_destination, s3
from aegis.ops.backup.destinations.folder import Folder
from aegis.ops.backup.schedule import SCHEDULED, crons
from aegis.ops.backup.service import Backups
from aegis.ops.health.of_backups import check_backups
from tests.db.rows import execute
from tests.ops.backup.conftest import varied
from tests.ops.backup.places import SshServer, disk, s3_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["folder", "sftp", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "folder":
        return disk(tmp_path)
    if request.param == "sftp":
        return request.getfixturevalue("box")[1]
    return request.getfixturevalue("store")


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_backup_goes_and_comes_back(
    backups: Backups, destination: dict[str, Any], place: Path, encrypt: bool
) -> None:
    own = varied(backups, **destination)
    entry = await own.create(Wish(format="directory", jobs=2, encrypt=encrypt))
    assert await own.remote() == []
    pushed = await own.push(entry.name)
    assert len(pushed.state.copies) == 1
    assert await own.remote() == [entry.name]
    # A machine that has nothing fetches it.
    fresh = varied(own, backup_dir=place / "fresh")
    pulled = await fresh.pull(entry.name)
    assert (await fresh.verify(pulled.name)).verdict == "verified"
    with pytest.raises(NotFound):
        await fresh.pull("aegis_20200101T000000000000Z_never")


async def test_pruned_here_it_is_still_listed_and_comes_back(
    backups: Backups, destination: dict[str, Any]
) -> None:
    own = varied(backups, **destination)
    entry = await own.push((await own.create()).name)
    assert own.catalogue.remove(entry, keep_entry=True)
    listed = await own.get(entry.name)
    assert (listed.local, len(listed.state.copies), listed.verdict) == (False, 1, "verified")
    with pytest.raises(Exception, match="aegis backup pull"):
        await own.verify(entry.name)
    back = await own.pull(entry.name)
    assert back.local
    assert (await own.verify(entry.name)).verdict == "verified"


async def test_copies_are_pruned_with_nothing_left_behind(
    backups: Backups, destination: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = varied(backups, **destination)
    entry = await own.push((await own.create()).name)

    def drop() -> None:
        with open_destination(own.settings) as where:
            assert copying.drop_copy(own.catalogue, entry, where) is not None
            assert where.names() == []
            assert where.files(entry.name) == []

    await asyncio.to_thread(drop)
    assert (await own.get(entry.name)).state.copies == ()


class _Lossy(Folder):
    """A store that acknowledges, and has something else, or nothing, afterwards."""

    def __init__(self, root: Path, how: Callable[[Path], object], times: int) -> None:
        super().__init__(root)
        self.how, self.times = how, times

    def put(self, source: Path, name: str, sent: Callable[[int], None]) -> None:
        super().put(source, name, sent)
        if self.times and name.endswith(".dump"):
            self.times -= 1
            self.how(self.root / name)


def _flip(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[:100] + bytes([text[100] ^ 1]) + text[101:])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "how",
    [_flip, _cut, _empty],
    ids=["flips", "cuts", "empties"],
)
async def test_a_store_that_loses_what_it_acknowledged_is_found(
    backups: Backups, tmp_path: Path, how: Callable[[Path], object]
) -> None:
    entry = await backups.create()
    (tmp_path / "d").mkdir()
    once = _Lossy(tmp_path / "d", how, times=1)
    # Once: it is sent again.
    pushed = await asyncio.to_thread(copying.push, backups.catalogue, entry, once)
    assert len(pushed.state.copies) == 1
    (tmp_path / "e").mkdir()
    always = _Lossy(tmp_path / "e", how, times=99)
    with pytest.raises(OpsError) as lost:
        await asyncio.to_thread(copying.push, backups.catalogue, entry, always)
    assert lost.value.code == "upload_lost"
    assert always.names() == []
    assert len((await backups.get(entry.name)).state.copies) == 1


async def test_a_store_that_loses_an_object_in_parts_is_found(
    backups: Backups, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that answers 200 to the completion, and then has no such key."""
    monkeypatch.setattr(s3, "WHOLE", 1)
    own = varied(backups, **store)
    entry = await own.create()
    real = s3.S3._put_parts  # pyright: ignore[reportPrivateUsage]

    def lossy(self: s3.S3, *arguments: Any) -> None:
        real(self, *arguments)
        self._client.delete_object(**self._at(arguments[2]))

    monkeypatch.setattr(s3.S3, "_put_parts", lossy)
    with pytest.raises(OpsError, match="did not give it back"):
        await own.push(entry.name)
    assert await own.remote() == []
    monkeypatch.setattr(s3.S3, "_put_parts", real)
    assert len((await own.push(entry.name)).state.copies) == 1


async def test_an_upload_in_parts_goes_on_where_it_was_cut(
    backups: Backups, full_dsn: str, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "WHOLE", 1 << 20)
    monkeypatch.setattr(s3, "PART", 5 << 20)
    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b "
        "FROM generate_series(1, 300000)",
    )
    own = varied(backups, **store)
    entry = await own.create(Wish(compression="none"))
    assert entry.manifest is not None
    assert entry.manifest.bytes > 15 << 20
    sent: list[int] = []
    cut = True

    with open_destination(own.settings) as where:
        assert isinstance(where, s3.S3)
        real = where._client.upload_part

        def upload(**arguments: Any) -> Any:
            if cut and arguments["PartNumber"] == 3:
                raise OSError("the line is dead")
            sent.append(arguments["PartNumber"])
            return real(**arguments)

        where._client.upload_part = upload
        name = f"{entry.name}/database.dump"
        with pytest.raises(Unavailable):
            where.put(entry.path / "database.dump", name, lambda _: None)
        assert sent == [1, 2]
        assert where.names() == []
        assert where.files(entry.name) == [name]
        cut = False
        copying.push(own.catalogue, entry, where)
        assert sent[2:4] == [3, 4]
        assert 1 not in sent[2:]
        where.forget(name)
    bucket = store["backup_destination"].split("/")[2]
    uploads = s3_client(store).list_multipart_uploads(Bucket=bucket)
    assert uploads.get("Uploads", []) == []


async def test_sftp_that_is_cut_goes_on_where_it_was(
    backups: Backups, full_dsn: str, box: tuple[SshServer, dict[str, Any]]
) -> None:
    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b "
        "FROM generate_series(1, 300000)",
    )
    server, settings = box
    own = varied(backups, **settings)
    entry = await own.create(Wish(compression="none"))
    assert entry.manifest is not None
    server.cut_after = 10 << 20
    with pytest.raises(Unavailable):
        await own.push(entry.name)
    assert server.cut_after is None
    assert await own.remote() == []
    (part,) = server.folder.rglob("*.part")
    have = part.stat().st_size
    assert have > 1 << 20
    server.written = 0
    assert len((await own.push(entry.name)).state.copies) == 1
    rest = entry.manifest.bytes - have + (entry.path / "manifest.json").stat().st_size
    assert server.written <= rest + (64 << 10)


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    backups: Backups, box: tuple[SshServer, dict[str, Any]], tmp_path: Path
) -> None:
    server, settings = box
    entry = await backups.create()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    wrong = tmp_path / "wrong"
    wrong.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    (tmp_path / "empty").write_text("")
    for known in (wrong, tmp_path / "empty", tmp_path / "absent"):
        own = varied(backups, **{**settings, "backup_sftp_known_hosts": known})
        with pytest.raises(ConfigError) as refused:
            await own.push(entry.name)
        assert refused.value.code == "backup_host_unknown"
    assert list(server.folder.rglob("*")) == []


async def test_a_wrong_password_a_dead_server_and_an_unmounted_disk_say_so(
    backups: Backups, box: tuple[SshServer, dict[str, Any]], place: Path
) -> None:
    entry = await backups.create()
    _, settings = box
    with pytest.raises(ConfigError) as refused:
        await varied(backups, **{**settings, "backup_sftp_password": "wrong"}).push(entry.name)
    assert refused.value.code == "backup_destination_refused"
    assert "wrong" not in refused.value.message.replace("wrong password", "")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = settings["backup_sftp_known_hosts"]
    dead = {**settings, "backup_destination": f"sftp://box@127.0.0.1:{port}/x"}
    with pytest.raises(Unavailable):
        await varied(
            backups,
            **dead,
        ).push(entry.name)
    assert known.is_file()
    with pytest.raises(Unavailable, match="mounted"):
        await varied(backups, backup_destination=f"file://{place}/absent").push(entry.name)
    with pytest.raises(ConfigError, match="AEGIS_BACKUP_DESTINATION"):
        await backups.push(entry.name)


async def test_a_store_without_the_bucket_says_so(backups: Backups, store: dict[str, Any]) -> None:
    entry = await backups.create()
    own = varied(backups, **{**store, "backup_destination": "s3://other/x"})
    with pytest.raises(ConfigError, match="no bucket other"):
        await own.push(entry.name)


async def test_a_backup_that_is_damaged_here_is_not_copied(
    backups: Backups, tmp_path: Path
) -> None:
    own = varied(backups, **disk(tmp_path))
    entry = await own.create()
    _flip(entry.path / "database.dump")
    with pytest.raises(OpsError) as damaged:
        await own.push(entry.name)
    assert damaged.value.code == "backup_damaged"
    assert await own.remote() == []


async def test_names_from_elsewhere_write_nothing_outside(backups: Backups, tmp_path: Path) -> None:
    from dataclasses import replace

    from aegis.ops.backup.sealed import write_sealed

    own = varied(backups, **disk(tmp_path))
    entry = await own.push((await own.create()).name)
    assert entry.manifest is not None
    there = tmp_path / "disk" / entry.name
    files = tuple(replace(f, name="../../../escaped") for f in entry.manifest.files)
    write_sealed(there / "manifest.json", replace(entry.manifest, files=files))
    fresh = varied(own, backup_dir=tmp_path / "a" / "b" / "c")
    with pytest.raises(OpsError, match="no name of a file"):
        await fresh.pull(entry.name)
    assert list(tmp_path.rglob("escaped*")) == []


async def test_a_night_makes_verifies_copies_and_prunes(backups: Backups, tmp_path: Path) -> None:
    own = varied(backups, **disk(tmp_path))
    assert sorted(SCHEDULED) == ["backup.create", "backup.drill", "backup.verify_weekly"]
    assert crons(own.settings)["backup.create"] == "0 2 * * *"
    first = await own.create()
    line = await SCHEDULED["backup.create"](own)
    assert "verified, copied; 0 pruned" in line
    names = [entry.name for entry in await own.list()]
    assert len(names) == 2
    assert first.name in await own.remote()
    assert sorted(await own.remote()) == sorted(names)
    assert "verified by restoring" in await SCHEDULED["backup.verify_weekly"](own)
    assert "recovered in" in await SCHEDULED["backup.drill"](own)
    (drill,) = await own.drills()
    assert drill.verdict == "verified"
    assert drill.source == own.settings.backup_destination
    assert drill.rto_s > 0
    assert drill.rpo_s > 0
    names = ("age", "verdict", "count", "proof", "copies", "drill", "recovery")
    assert {c.id: c.state for c in await check_backups(own)} == dict.fromkeys(
        [f"backup-{name}" for name in names], "ok"
    )


async def test_a_night_that_does_not_verify_prunes_nothing(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegis.ops.backup import service

    entry = await backups.create()
    real = service.create

    def damaging(*arguments: Any, **more: Any) -> Any:
        made = real(*arguments, **more)
        _flip(made.path / "database.dump")
        return made

    monkeypatch.setattr(service, "create", damaging)
    with pytest.raises(OpsError, match="Nothing was pruned"):
        await SCHEDULED["backup.create"](backups)
    with suppress(NotFound):
        assert (await backups.get("latest")).name == entry.name
    assert [e.verdict for e in await backups.list()] == ["failed", "verified"]
