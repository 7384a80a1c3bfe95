"""Whatever happens to the files of a backup is found; what cannot be looked at gets no verdict."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import ConfigError, OpsError
from aegis.ops.backup import proving
from aegis.ops.backup.catalogue import Catalogue
from aegis.ops.backup.creating import Wish
from aegis.ops.backup.crypto import KeyRing, new_key
from aegis.ops.backup.damage import damage
from aegis.ops.backup.reading import verify_fast
from aegis.ops.backup.service import Backups
from tests.db.rows import execute
from tests.ops.backup.conftest import KEY, varied

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.ops.backup.models import Entry


def _copy(entry: Entry, folder: Path) -> Catalogue:
    shutil.copytree(entry.path, folder / entry.name)
    return Catalogue(folder)


@pytest.mark.parametrize("encrypt", [False, True])
async def test_every_flip_cut_and_swap_is_found(
    backups: Backups, tmp_path: Path, encrypt: bool
) -> None:
    """Single bits, truncations and exchanged files, over all files, manifest and keys included."""
    first = await backups.create(Wish(format="directory", jobs=2, encrypt=encrypt))
    other = await backups.create(Wish(format="directory", jobs=2, encrypt=encrypt))
    rng = random.Random(11)
    missed: list[str] = []
    for number in range(150):
        catalogue = _copy(first, tmp_path / str(number))
        done = damage(catalogue.folder / first.name, other.path, rng)
        found = verify_fast(catalogue.get(first.name), backups.keys)
        if found.verdict != "failed":
            missed.append(f"{done}: {found.verdict}")
        shutil.rmtree(catalogue.folder)
    assert missed == []
    assert verify_fast(first, backups.keys).verdict == "verified"


async def test_any_other_file_in_the_place_of_a_key_is_damage_and_no_missing_key(
    backups: Backups, tmp_path: Path
) -> None:
    """Each is well-formed by itself, and has the checksum that it names."""
    first = await backups.create(Wish(encrypt=True))
    other = await backups.create(Wish(encrypt=True))
    for file in sorted(p for entry in (first, other) for p in entry.path.iterdir()):
        if file == first.path / "key.json":
            continue
        catalogue = _copy(first, tmp_path / f"{file.parent.name}-{file.name}")
        shutil.copy(file, catalogue.folder / first.name / "key.json")
        found = verify_fast(catalogue.get(first.name), backups.keys)
        assert found.verdict == "failed", (file, found.problem)


async def test_a_whole_backup_under_the_name_of_another_is_found(
    backups: Backups, tmp_path: Path
) -> None:
    first, second = await backups.create(), await backups.create()
    shutil.copytree(first.path, tmp_path / second.name)
    found = Catalogue(tmp_path).get(second.name)
    assert found.verdict == "failed"
    assert "another backup" in (found.damage or "")


async def test_a_forged_manifest_is_found_where_the_backup_is_encrypted(
    backups: Backups,
) -> None:
    from dataclasses import replace

    from aegis.ops.backup.sealed import write_sealed

    entry = await backups.create(Wish(encrypt=True))
    assert entry.manifest is not None
    forged = replace(entry.manifest, tables=())
    write_sealed(entry.path / "manifest.json", forged)
    assert (await backups.verify(entry.name)).verdict == "failed"
    write_sealed(entry.path / "manifest.json", forged, b"another key")
    assert (await backups.verify(entry.name)).verdict == "failed"


async def test_without_the_key_a_backup_is_not_verified_rather_than_failed(
    backups: Backups,
) -> None:
    entry = await backups.create(Wish(encrypt=True))
    for keys in (None, new_key()):
        looked = await varied(backups, backup_keys=keys).verify(entry.name)
        assert looked.verdict == "not_verified"
        assert looked.state.fast is not None
        assert "AEGIS_BACKUP_KEYS" in (looked.state.fast.problem or "")
    assert (await backups.verify(entry.name)).verdict == "verified"


async def test_keys_are_changed_without_touching_the_files(backups: Backups) -> None:
    entry = await backups.create(Wish(encrypt=True))
    before = {p.name: p.read_bytes() for p in entry.path.glob("database*")}
    newer = new_key()
    assert await varied(backups, backup_keys=f"{KEY},{newer}").rekey() == 1
    assert await varied(backups, backup_keys=f"{KEY},{newer}").rekey() == 0
    alone = varied(backups, backup_keys=newer)
    assert (await alone.verify(entry.name)).verdict == "verified"
    assert {p.name: p.read_bytes() for p in entry.path.glob("database*")} == before
    assert (await backups.verify(entry.name)).verdict == "not_verified"
    with pytest.raises(ConfigError, match="Add that key"):
        await backups.rekey()


def test_a_key_that_is_none_is_refused() -> None:
    for text in ("short", "AAAA", "%%%", new_key()[:-4]):
        with pytest.raises(ConfigError, match="32 bytes"):
            KeyRing.parse(text)


async def test_a_damaged_state_believes_no_verdict_and_lets_nothing_go(backups: Backups) -> None:
    entry = await backups.create()
    state = entry.path / "state.json"
    state.write_bytes(state.read_bytes().replace(b"verified", b"verifief"))
    found = await backups.get(entry.name)
    assert found.verdict == "not_verified"
    assert "damaged" in (found.state.hold or "")


async def test_restoring_proves_a_backup_and_says_what_was_looked_at(backups: Backups) -> None:
    entry = await backups.verify((await backups.create()).name, full=True)
    assert (entry.verdict, entry.level) == ("verified", "full"), entry.state.full
    assert entry.state.full is not None
    names = [check.name for check in entry.state.full.checks]
    assert names == [
        "manifest", "files", "archive", "server", "restore", "contents", "smoke", "amcheck",
    ]  # fmt: skip
    assert list((backups.settings.data_dir / "sandboxes").iterdir()) == []


async def test_rows_that_are_lost_on_the_way_are_found(
    backups: Backups, full_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a preloaded library breaks what a parallel restore does before it copies rows."""
    entry = await backups.create()
    real = proving.load

    def lossy(pg_restore: Path, archive: Path, contents: object, dsn: str, **more: object) -> None:
        real(pg_restore, archive, contents, dsn, **more)  # type: ignore[arg-type]
        execute(dsn, "TRUNCATE semantic_memory CASCADE")

    monkeypatch.setattr(proving, "load", lossy)
    found = await backups.verify(entry.name, full=True)
    assert found.verdict == "failed"
    assert found.state.full is not None
    assert "semantic_memory has 0 rows" in (found.state.full.problem or "")


async def test_one_value_that_changed_is_found(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await backups.create()
    real = proving.load

    def lossy(pg_restore: Path, archive: Path, contents: object, dsn: str, **more: object) -> None:
        real(pg_restore, archive, contents, dsn, **more)  # type: ignore[arg-type]
        execute(
            dsn,
            "UPDATE semantic_memory SET content = content || '.' WHERE id = "
            "(SELECT min(id) FROM semantic_memory)",
        )

    monkeypatch.setattr(proving, "load", lossy)
    found = await backups.verify(entry.name, full=True)
    assert found.verdict == "failed"
    assert "other contents" in str(found.state.full)


async def test_a_server_that_lacks_an_extension_gives_no_verdict(
    backups: Backups, settings: Settings
) -> None:
    from dataclasses import replace

    from aegis.ops.backup.sealed import write_sealed

    entry = await backups.create()
    assert entry.manifest is not None
    wanting = replace(entry.manifest, extensions={**entry.manifest.extensions, "age": "1.8.0"})
    write_sealed(entry.path / "manifest.json", wanting)
    found = await backups.verify(entry.name, full=True)
    assert found.verdict == "not_verified"
    assert "no age" in str(found.state.full)
    newer = replace(entry.manifest, server_version_num=990_000, server_version="99.0")
    write_sealed(entry.path / "manifest.json", newer)
    found = await backups.verify(entry.name, full=True)
    assert found.verdict == "not_verified"
    assert "PostgreSQL 99.0" in str(found.state.full)


async def test_pg_restore_alone_would_not_have_noticed(backups: Backups, full_dsn: str) -> None:
    """The list of a cut archive reads well: it is no proof, and the hashes are."""
    from aegis.ops.backup.programs import find_program
    from aegis.ops.restore.archive import read_contents

    execute(
        full_dsn,
        "CREATE TABLE zz AS SELECT gen_random_uuid() AS id FROM generate_series(1, 100000)",
    )
    entry = await backups.create()
    file = entry.path / "database.dump"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.62)])
    assert read_contents(find_program("pg_restore", 16)[0], file).items
    assert (await backups.verify(entry.name)).verdict == "failed"
    with pytest.raises(OpsError, match="nothing was done"):
        from aegis.ops.restore.models import Wanted

        await backups.plan_restore(entry.name, Wanted())


async def test_a_program_that_is_killed_is_no_word_on_the_backup(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system ends programs for want of memory; the backup is as good as before."""
    from aegis.ops.backup import programs

    entry = await backups.create()
    real = programs.wait

    def killing(process: subprocess.Popen[bytes], *arguments: Any) -> None:
        process.kill()
        real(process, *arguments)

    monkeypatch.setattr(programs, "wait", killing)
    for full in (False, True):
        found = await backups.verify(entry.name, full=full)
        assert found.verdict == "not_verified"
    assert "was killed" in str(found.state.fast)
    monkeypatch.undo()
    assert (await backups.verify(entry.name)).verdict == "verified"
