"""Starting the server process of a cluster that exists. Callers hold the cluster lock."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from aegis.db.account import run_as
from aegis.db.cluster import Record, server_environment, socket_folder, write_file
from aegis.db.cluster_config import memory_bytes, render, server_settings
from aegis.db.failure import last_error, log_since, log_sizes, port_is_taken, start_failure
from aegis.db.postmaster import START_TIMEOUT_S, find_postmaster, wait_until
from aegis.errors import OpsError

if TYPE_CHECKING:
    from aegis.db.account import Account
    from aegis.db.binaries import Binaries
    from aegis.db.cluster import Cluster
    from aegis.db.postmaster import Postmaster

__all__ = ["launch"]

#: The standard port, 5432, stays free for a PostgreSQL of the system.
_FIRST_PORT = 5433
_PORTS = 200


def launch(
    cluster: Cluster, binaries: Binaries, account: Account | None, in_use: int
) -> tuple[Record, Postmaster]:
    """Start the server on its last port, or another if that is taken, and wait until it is ready.

    It inherits the descriptor `in_use`, and with it the lock that tells that it lives.

    Raises:
        OpsError: it ended, saying why; or it recovers for longer than `START_TIMEOUT_S`.
    """
    last = cluster.read_record()
    folder = socket_folder(cluster, last.socket_dir if last is not None else None, account)
    remembered = last.port if last is not None else None
    tried: set[int] = set()
    while len(tried) < 8:
        port = _free_port(remembered, tried)
        tried.add(port)
        # Written before: a launcher that is killed now leaves a server that others can find.
        record = Record(
            major=binaries.major,
            version=binaries.version,
            port=port,
            socket_dir=str(folder),
            bin_dir=str(binaries.bin_dir),
        )
        cluster.write_record(record)
        postmaster = _launch(cluster, binaries, account, record, in_use)
        if postmaster is not None:
            return record, postmaster
    raise OpsError(
        f"Other programs keep taking the ports that the server tries ({sorted(tried)}). "
        "Start again.",
        code="port_taken",
    )


def _launch(
    cluster: Cluster,
    binaries: Binaries,
    account: Account | None,
    record: Record,
    in_use: int,
) -> Postmaster | None:
    """Start the server and wait until it is ready; None when its port was taken meanwhile."""
    data = cluster.data(record.major)
    folder = Path(record.socket_dir)
    for left in folder.glob(".s.PGSQL.*"):
        left.unlink(missing_ok=True)
    conf = server_settings(
        port=record.port,
        socket_dir=folder,
        log_dir=cluster.log_dir,
        preload=_preload(binaries),
        total_memory_bytes=memory_bytes(),
    )
    write_file(data / "aegis.conf", render(conf))
    before = log_sizes(cluster.log_dir)
    # Not below the data folder: a full disk would swallow the message that says so.
    with tempfile.TemporaryFile() as said:
        process = _spawn(binaries, data, account, said, in_use)
        ended = False

        def settled() -> bool:
            nonlocal ended
            ended = process.poll() is not None
            found = find_postmaster(data)
            return ended or (found is not None and found.ready)

        in_time = wait_until(settled, START_TIMEOUT_S)
        if ended:
            text = _last_words(said, cluster.log_dir, before)
            if port_is_taken(text):
                return None
            raise start_failure(text, data, log_dir=cluster.log_dir)
    # Whoever started it has to take note of its end, or it would stay a zombie.
    threading.Thread(target=process.wait, name="aegis-postmaster", daemon=True).start()
    found = find_postmaster(data)
    if not in_time or found is None:
        raise OpsError(
            f"The server for {data} is still recovering after {START_TIMEOUT_S:g} s (process "
            f"{process.pid}); it goes on. See {cluster.log_dir}, and try again later.",
            code="server_start_timeout",
        )
    return found


def _spawn(
    binaries: Binaries, data: Path, account: Account | None, said: IO[bytes], in_use: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [binaries.program("postgres"), "-D", data],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        cwd=data,
        env=server_environment(),
        # A session of its own: Ctrl-C in our terminal is not meant for it.
        start_new_session=True,
        umask=0o077,
        pass_fds=(in_use,),
        **run_as(account),
    )


def _preload(binaries: Binaries) -> tuple[str, ...]:
    """Return the libraries to load at the start, of those that the installation has."""
    library = "pg_stat_statements"
    found = any((binaries.bin_dir.parent / "lib").rglob(f"{library}.*"))
    return (library,) if found else ()


def _last_words(said: IO[bytes], log_dir: Path, before: dict[str, int]) -> str:
    """Return what a server that ended has said: to us first, then to its log."""
    said.seek(0)
    first = said.read().decode(errors="replace")
    if last_error(first) is None:
        # The process that writes the log may end after the server.
        wait_until(lambda: last_error(log_since(log_dir, before)) is not None, 1.0)
    return first + log_since(log_dir, before)


def _free_port(remembered: int | None, tried: set[int]) -> int:
    first = [remembered] if remembered is not None else []
    for port in [*first, *range(_FIRST_PORT, _FIRST_PORT + _PORTS)]:
        if port not in tried and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
