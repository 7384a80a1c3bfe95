"""The server as processes: which run on a data folder, is one ready, ending what a crash left.

PostgreSQL's own lock is `postmaster.pid` in the data folder. After a crash it stays behind, and
its process number may belong to somebody else by now: a process counts as ours only when it is a
`postgres` whose working directory is the data folder. (Without `/proc`, only its number counts.)
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "START_TIMEOUT_S",
    "Postmaster",
    "end_orphans",
    "find_postmaster",
    "processes_of",
    "servers_of",
    "serves",
    "wait_until",
]

_PROC = Path("/proc")
#: Recovery after a crash may replay a gigabyte; a server that is at it is left to it.
START_TIMEOUT_S = 300.0
#: How often a state is looked at; `pg_ctl` looks every 100 ms.
_POLL_S = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A server that runs, as its `postmaster.pid` describes it."""

    pid: int
    #: Seconds since the epoch.
    started_at_s: int
    port: int
    socket_dir: Path
    #: `starting`, `ready`, `stopping` or `standby`; empty in its first milliseconds.
    state: str

    @property
    def ready(self) -> bool:
        """Tell whether it takes connections."""
        return self.state in ("ready", "standby")


def find_postmaster(data: Path) -> Postmaster | None:
    """Return the server that runs on the folder `data`; None when none does."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # One line each: pid, data folder, start time, port, socket folder, address, memory key, state.
    fields = [line.strip() for line in lines] + [""] * 8
    if not fields[0].isdigit() or not serves(int(fields[0]), data):
        return None
    return Postmaster(
        pid=int(fields[0]),
        started_at_s=int(fields[2]) if fields[2].isdigit() else 0,
        port=int(fields[3]) if fields[3].isdigit() else 0,
        socket_dir=Path(fields[4]),
        state=fields[7],
    )


def processes_of(data: Path) -> list[int]:
    """Return the server processes that have `data` as their folder; empty without `/proc`."""
    if not _PROC.is_dir():
        return []
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [pid for pid in pids if _has_folder(pid, data)]


def servers_of(data: Path) -> list[int]:
    """Return the servers among `processes_of(data)`, whether `postmaster.pid` names them or not.

    It does not while they begin and end, and never names one that runs in a container.
    """
    return [pid for pid in processes_of(data) if _is_whole_server(pid)]


def end_orphans(data: Path, *, all_of_them: bool = False, patience_s: float = 5.0) -> None:
    """End the processes that a killed server left on `data`; call it when no server runs there.

    PostgreSQL refuses to start while one of them is attached to the shared memory. What they had
    not committed is rolled back by recovery, as the server itself would have had it. A server
    (`all_of_them` includes it) is not an orphan: it may run in a container, whose `postmaster.pid`
    names it by another number than ours.

    Raises:
        OpsError: a server runs there, or a process does not end, even when killed.
    """
    servers = [] if all_of_them else servers_of(data)
    if servers:
        raise OpsError(
            f"A server that postmaster.pid does not name uses {data}: process {servers[0]}, "
            "perhaps in a container. Stop it first.",
            code="data_dir_in_use",
        )
    for signal_number in (signal.SIGQUIT, signal.SIGKILL):
        left = processes_of(data)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal_number)
        if not left or wait_until(lambda: not processes_of(data), patience_s):
            return
    left = processes_of(data)
    raise OpsError(
        f"Processes of a server that was killed still use {data}: {', '.join(map(str, left))}. "
        "End them, then start again.",
        code="data_dir_in_use",
    )


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look at `condition` until it holds; return False when `timeout_s` is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def serves(pid: int, data: Path) -> bool:
    """Tell whether process `pid` exists and belongs to a server on `data`."""
    if _PROC.is_dir():
        return _has_folder(pid, data)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_whole_server(pid: int) -> bool:
    # A server is called by its program's path, its parts `postgres: checkpointer` and so on.
    try:
        arguments = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return not arguments[0].startswith(b"postgres:") and b"--single" not in arguments


def _has_folder(pid: int, data: Path) -> bool:
    # A zombie has neither link, so a killed server that nobody waited for does not count.
    try:
        program = os.readlink(_PROC / str(pid) / "exe")  # noqa: PTH115  `Path.readlink` is slower
        if Path(program.removesuffix(" (deleted)")).name != "postgres":
            return False
        return os.path.samestat((_PROC / str(pid) / "cwd").stat(), data.stat())
    except OSError:
        return False
