"""A Debian root with a server, extensions and an S3 store that come in no wheel.

`python -m tests.debian.root FOLDER` builds it (root, debootstrap, a Debian mirror; about three
minutes); servers in it run by chroot, each in a mount namespace of its own, so that nothing stays
mounted when they end.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Root", "build"]

#: Has PostgreSQL 18 with everything asked for here, and a radosgw that needs no cluster.
SUITE: Final = "forky"
MAJOR: Final = "18"
PACKAGES: Final = (
    "faketime",
    "pgbouncer",
    "postgresql-18",
    "postgresql-18-age",
    "postgresql-18-hypopg",
    "postgresql-18-pgaudit",
    "postgresql-18-pgvector",
    "radosgw",
)
_CLIENTS: Final = ("pg_dump", "pg_restore", "pg_dumpall", "pg_amcheck")

_APT: Final = """\
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
"""

_CEPH: Final = """\
[global]
no mon config = true
rgw backend store = dbstore
rgw config store = dbstore
dbstore db dir = /srv/rgw
dbstore config uri = file:/srv/rgw/config.db
auth cluster required = none
auth service required = none
auth client required = none
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = /srv/rgw
log file = /srv/rgw/log
"""


def build(place: Path) -> None:
    """Build the root at `place`; one that is whole already stays."""
    if (place / ".whole").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        # Debootstrap of an older Debian does not know the name of a newer one.
        scripts = Path(folder) / "debootstrap"
        shutil.copytree("/usr/share/debootstrap", scripts, symlinks=True)
        if not (scripts / "scripts" / SUITE).exists():
            (scripts / "scripts" / SUITE).symlink_to("sid")
        _call(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(place)],
            DEBOOTSTRAP_DIR=str(scripts),
        )
    _write(place / "etc/apt/apt.conf.d/99aegis", _APT)
    _write(place / "etc/dpkg/dpkg.cfg.d/aegis", "force-unsafe-io\n")
    _write(place / "etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")
    _write(place / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n").chmod(0o755)
    shutil.copy("/etc/resolv.conf", place / "etc/resolv.conf")
    root = Root(place)
    root.call("apt-get", "update", "-q")
    root.call("apt-get", "install", "-qy", *PACKAGES)
    (place / ".whole").touch()


class Root:
    """A built root; what runs in it sees the folder `share` under the same path."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.share = place.with_name(f"{place.name}-share")
        self.share.mkdir(exist_ok=True)
        self.share.chmod(0o777)
        (place / self.share.relative_to("/")).mkdir(parents=True, exist_ok=True)

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs `command` in the root."""
        script = (
            'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" '
            '&& mount --bind "$1" "$0$1" && root=$0 && shift && exec chroot "$root" "$@"'
        )
        begin = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        return [*begin, str(self.place), str(self.share), *command]

    def call(self, *command: str) -> None:
        """Run a command to its end; its output is shown where it fails."""
        _call(self.inside(*command), DEBIAN_FRONTEND="noninteractive", LC_ALL="C")

    def clients(self) -> Path:
        """Return a folder of the root's client programs that this machine can run."""
        folder = self.share / "bin"
        folder.mkdir(exist_ok=True)
        for name in _CLIENTS:
            program = f"/usr/lib/postgresql/{MAJOR}/bin/{name}"
            words = " ".join(f"'{word}'" for word in self.inside(program))
            _write(folder / name, f'#!/bin/sh\nexec {words} "$@"\n').chmod(0o755)
        return folder

    @contextmanager
    def postgres(self, *, clock: str = "", **settings: str) -> Generator[str]:
        """Yield the DSN of a new server's `postgres` database, superuser, on loopback.

        `clock` says how far its clock is off, such as `+30d`.
        """
        programs = f"/usr/lib/postgresql/{MAJOR}/bin"
        port = _free_port()
        home = Path(tempfile.mkdtemp(dir=self.share))
        home.chmod(0o777)
        data = home / "data"
        as_postgres = ["su", "postgres", "-s", "/bin/sh", "-c"]
        made = f"{programs}/initdb -D {data} -U aegis -A trust -E UTF8 --no-locale --no-sync"
        self.call(*as_postgres, made)
        conf = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(home),
            "fsync": "off",
            **settings,
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in conf.items())
        begin = f"FAKETIME_DONT_FAKE_MONOTONIC=1 exec faketime -f {clock}" if clock else "exec"
        run = self.inside(*as_postgres, f"{begin} {programs}/postgres -D {data}")
        dsn = f"host=127.0.0.1 port={port} user=aegis dbname=postgres"
        with _running(run, home / "log", lambda: _takes_logins(dsn)):
            yield dsn
        shutil.rmtree(home)

    @contextmanager
    def radosgw(self, key: str, secret: str) -> Generator[str]:
        """Yield the address of an S3 store with one user."""
        port = _free_port()
        shutil.rmtree(self.place / "srv/rgw", ignore_errors=True)
        (self.place / "srv/rgw").mkdir(parents=True)
        _write(self.place / "etc/ceph/ceph.conf", _CEPH.format(port=port))
        store = ["--no-mon-config", "--rgw-backend-store=dbstore"]
        user = ["--uid=t", "--display-name=t", f"--access-key={key}", f"--secret={secret}"]
        self.call("radosgw-admin", *store, "user", "create", *user)
        run = self.inside("radosgw", "-f", *store, "-n", "client.rgw.x")
        with _running(run, self.share / "radosgw.log", lambda: _answers(port)):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], log: Path, is_up: Callable[[], bool]) -> Generator[None]:
    """Run a server until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not is_up():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        # `su` passes nothing on: the whole session ends.
        subprocess.run(["pkill", "-INT", "-s", str(process.pid)], check=False)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
            process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _takes_logins(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _call(command: list[str], **variables: Any) -> None:
    done = subprocess.run(
        command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stdout[-2000:]}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
