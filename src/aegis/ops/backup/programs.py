"""PostgreSQL's client programs: which one to use, and running it so that it ends when we do.

Passwords reach them through a password file that only we can read, never a command line.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from aegis.db.dump import client_environment, pg_programs
from aegis.db.vigil import wait_for
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = [
    "Stopped",
    "best_compression",
    "environment",
    "find_program",
    "run_program",
    "started",
    "supports",
]

#: What to compress with, best first: as small as gzip's, and several times faster.
PREFERRED = ("zstd:1", "gzip:1")

_PR_SET_PDEATHSIG = 1
#: What a program says whose server has ended beneath it.
_SERVERS_END = ("No space left", "server closed the connection", "terminating connection")


class Stopped(OpsError):
    """Whoever asked for the work does not want it any more."""

    code = "backup_stopped"

    def __init__(self) -> None:
        super().__init__("It was stopped; nothing half done is left.")


def find_program(name: str, at_least: int, *, compression: str = "none") -> tuple[Path, int]:
    """Return the path and major version of a client program that can do what is asked.

    The oldest that is new enough is the best fit for its server.

    Raises:
        OpsError: `pg_program_missing`.
    """
    fitting = sorted(
        (major, place)
        for major, place in pg_programs(name).items()
        if major >= at_least and _reads(place.with_name("pg_dump"), compression)
    )
    if fitting:
        major, place = fitting[0]
        return place, major
    how = "" if compression == "none" else f" that knows {compression.partition(':')[0]}"
    raise OpsError(
        f"There is no {name} of PostgreSQL {at_least} or later{how} on this machine. Install "
        "PostgreSQL's client programs.",
        code="pg_program_missing",
    )


def best_compression(pg_dump: Path, wanted: str) -> str:
    """Return what to compress with: `wanted`, or for `auto` the best that the program knows.

    Raises:
        OpsError: `compression_unknown`, the program was built without it.
    """
    if wanted == "auto":
        return next((method for method in PREFERRED if supports(pg_dump, method)), "none")
    if not supports(pg_dump, wanted):
        raise OpsError(
            f"{pg_dump} cannot compress with {wanted!r}; use gzip:1 to gzip:9, none, or auto.",
            code="compression_unknown",
        )
    return wanted


@lru_cache(maxsize=64)
def supports(pg_dump: Path, compression: str) -> bool:
    """Tell whether a pg_dump was built with a compression; it says so before it connects."""
    done = subprocess.run(
        [pg_dump, "--format=custom", f"--compress={compression}", f"--file={os.devnull}",
         "--no-password", "--dbname=host=/nonexistent"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return "compression" not in done.stderr and "/nonexistent" in done.stderr


def _reads(pg_dump: Path, compression: str) -> bool:
    method = compression.partition(":")[0]
    # One installation is built as a whole: what its pg_dump writes, its pg_restore reads.
    return method in ("none", "gzip", "unknown") or supports(pg_dump, compression)


@contextmanager
def environment(dsn: str) -> Generator[dict[str, str]]:
    """Yield the variables that take a client program to `dsn`; the password is in a file."""
    variables = client_environment(dsn)
    password = variables.pop("PGPASSWORD", None)
    if password is None:
        yield variables
        return
    with tempfile.NamedTemporaryFile("w", prefix="aegis-pass-") as file:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        yield {**variables, "PGPASSFILE": file.name}


@contextmanager
def started(
    command: Sequence[str | Path], variables: dict[str, str], said: IO[bytes], **pipes: Any
) -> Generator[subprocess.Popen[bytes]]:
    """Start a program, yield it, and make sure that it is gone at the end."""
    pipes.setdefault("stdin", subprocess.DEVNULL)
    pipes.setdefault("stdout", subprocess.DEVNULL)
    process: Any = subprocess.Popen(
        [str(part) for part in command],
        env=variables,
        stderr=said,
        # It must not outlive us, and write into a folder that the next run cleans.
        preexec_fn=_die_with_parent(),  # noqa: PLW1509
        # A program's own workers are ended with it; Ctrl-C is ours to deal with.
        process_group=0,
        **pipes,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_program(
    command: Sequence[str | Path],
    variables: dict[str, str],
    *,
    dsn: str | None = None,
    stop: threading.Event | None = None,
    tick: Callable[[], None] | None = None,
    **pipes: Any,
) -> tuple[int, str]:
    """Run a program to its end and return its exit status and what it said on standard error.

    `dsn` is the server that it works on.

    Raises:
        Stopped: `stop` was set; the program is ended.
        Unavailable: `db_unreachable`, the server stands still; the program is ended.
        OpsError: `program_killed`, somebody ended it: that says nothing of what it worked on.
    """
    with (
        tempfile.TemporaryFile() as said,
        started(command, variables, said, **pipes) as process,
    ):
        wait(process, dsn, stop, tick)
        said.seek(0)
        text = said.read().decode(errors="replace")
        died = process.returncode < 0 or "worker process died unexpectedly" in text
        # A server whose disk is full takes its clients along, and may have said why.
        if died and not any(sign in text for sign in _SERVERS_END):
            what = f" (signal {-process.returncode})" if process.returncode < 0 else ""
            raise OpsError(
                f"{Path(command[0]).name} was killed{what}, perhaps for want of memory; try again.",
                code="program_killed",
            )
        return process.returncode, text


def wait(
    process: subprocess.Popen[bytes],
    dsn: str | None,
    stop: threading.Event | None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Wait for a program's end, looking up now and then (`Stopped`, `Unavailable`)."""

    def turn() -> None:
        if stop is not None and stop.is_set():
            raise Stopped
        if tick is not None:
            tick()

    wait_for(process, dsn, turn)


def first_error(said: str) -> str:
    """Return the line of a program's standard error that says what was wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror:", line)]
    return (errors or lines or ["it said nothing"])[0]


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
