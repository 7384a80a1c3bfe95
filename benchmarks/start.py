"""How long `aegis up` takes until it answers, what it holds then, and what one command costs.

Each is a process of its own, as a user would start it, on a data folder of its own. Memory is
that of the serving process alone, idle, with the model loaded; PostgreSQL's is its own.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from aegis.config import ENV_PREFIX
from aegis.errors import OpsError
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

__all__ = ["add_arguments", "run", "serving"]

_AEGIS = [sys.executable, "-m", "aegis.cli"]
_RECALL = [*_AEGIS, "memory", "recall", "what was decided about the index?"]
_EPISODES = (
    "The index on the namespace was decided on after the scan took a second.",
    "Lunch was soup.",
    "The release moved to Thursday, because the migration needs a window.",
)
_MB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rounds", type=int, default=3, help="warm starts")
    parser.add_argument("--commands", type=int, default=7, help="recalls, each a process")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", ignore_cleanup_errors=True) as folder:
        # The embedded server runs as an unprivileged user, who has to get there.
        Path(folder).chmod(0o755)
        env = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        env |= {"AEGIS_DATA_DIR": str(Path(folder) / "data")}
        with serving(env) as (_, cold_s):
            figures["cold_start_s"] = cold_s
            for text in _EPISODES:
                _command([*_AEGIS, "memory", "record", "note", text], env)
        warm: list[float] = []
        for _ in progress(range(args.rounds), "Starting"):
            with serving(env) as (process, seconds):
                warm.append(seconds)
                if len(warm) == args.rounds:
                    figures |= _recalls(env, args.commands) | _memory(process.pid)
        figures["warm_start_s"] = median(warm)
    return figures


@contextmanager
def serving(env: dict[str, str]) -> Generator[tuple[subprocess.Popen[str], float], None, None]:
    """Start `aegis up`, lend the process and the seconds until it is ready, and stop it."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*_AEGIS, "up", "--port", "0"],
            env=env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            url = _address(process)
            if url is None:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["it said nothing"])[-1]
                raise OpsError(f"`aegis up` did not start: {last}")
            with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
                answer.read()
            yield process, time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            process.stdout.read()
            process.wait(timeout=60)


def _address(process: subprocess.Popen[str]) -> str | None:
    """Read what `aegis up` prints up to its address."""
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"HTTP API\s+(http://\S+)/v1", line)
        if found:
            return found[1]
    return None


def _recalls(env: dict[str, str], count: int) -> dict[str, float]:
    """Time whole processes of `aegis memory recall`, bare Python, and the imports of one."""
    commands: list[float] = []
    bare: list[float] = []
    processor: list[float] = []
    for _ in range(count):
        before = _processor_s()
        commands.append(_command(_RECALL, env))
        processor.append(_processor_s() - before)
        bare.append(_command([sys.executable, "-c", "pass"], env))
    return {
        "recall_command_ms": median(commands[1:] or commands) * 1000,
        # What a busy machine does not stretch.
        "recall_command_processor_ms": median(processor) * 1000,
        "recall_command_first_ms": commands[0] * 1000,
        "python_ms": median(bare) * 1000,
        "recall_imports_ms": median(_imports(env) for _ in range(3)) * 1000,
    }


def _processor_s() -> float:
    """Return the processor seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _imports(env: dict[str, str]) -> float:
    """Return the seconds that a recall spends importing, Python's own start-up included."""
    command = [sys.executable, "-X", "importtime", *_RECALL[1:]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    own = re.findall(r"^import time:\s+(\d+) \|", done.stderr, re.MULTILINE)
    return sum(map(int, own)) / 1e6


def _command(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OpsError(f"`aegis {' '.join(command[3:])}` failed: {last}")
    return seconds


def _memory(pid: int) -> dict[str, float]:
    """Return resident and proportional memory of a process; nothing where there is no /proc."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return {}
    kib = {
        name: int(value)
        for name, value in re.findall(r"^(\w+):\s+(\d+) kB", rollup.read_text(), re.MULTILINE)
    }
    return {
        "resident_mb": kib["Rss"] * 1024 / _MB,
        "proportional_mb": kib["Pss"] * 1024 / _MB,
        "private_dirty_mb": kib["Private_Dirty"] * 1024 / _MB,
    }
