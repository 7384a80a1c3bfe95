"""What one `aegis hook` costs: the whole process, while `aegis up` serves, and with nothing there.

Each is started as Claude Code starts it. `up.prompt` asks for memories and is answered, `up.tool`
is written without being waited for; `down` has no server and no database, `lost` a server whose
database was stopped under it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from aegis.config import ENV_PREFIX
from aegis.errors import OpsError
from benchmarks.report import percentile, progress
from benchmarks.start import serving

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_HOOK = [sys.executable, "-m", "aegis.cli", "hook"]
_MEMORIES = (
    "The nightly backup failed because the disk was full.",
    "The index on the namespace was decided on after the scan took a second.",
    "The release moved to Thursday, because the migration needs a window.",
)
_PAYLOADS = {
    "prompt": ("UserPromptSubmit", {"prompt": "why did the nightly backup fail?"}),
    "tool": (
        "PostToolUse",
        {"tool_name": "Edit", "tool_input": {"file_path": "/srv/shop/a.py", "new_string": "x"}},
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--hooks", type=int, default=40, help="processes of each kind")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", ignore_cleanup_errors=True) as folder:
        # The embedded server runs as an unprivileged user, who has to get there.
        Path(folder).chmod(0o755)
        env = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        env |= {"AEGIS_DATA_DIR": str(Path(folder) / "data")}
        with serving(env):
            for text in _MEMORIES:
                command = [*_HOOK[:3], "memory", "record", "note", text]
                subprocess.run(command, env=env, check=True, capture_output=True)
            for kind in _PAYLOADS:
                figures |= _measure("up", kind, env, args.hooks)
            stop = [*_HOOK[:3], "db", "stop", "--yes"]
            subprocess.run(stop, env=env, check=True, capture_output=True)
            for kind in _PAYLOADS:
                figures |= _measure("lost", kind, env, args.hooks)
        for kind in _PAYLOADS:
            figures |= _measure("down", kind, env, args.hooks)
    figures["python_ms"] = median(_bare() for _ in range(10)) * 1000
    return figures


def _measure(where: str, kind: str, env: dict[str, str], count: int) -> dict[str, float]:
    event, fields = _PAYLOADS[kind]
    walls: list[float] = []
    processor: list[float] = []
    for number in progress(range(count), f"Hooks, {where}, {kind}"):
        # A session each: what was told once is not told again.
        given = {"session_id": f"{where}-{kind}-{number}", "cwd": "/srv/shop", **fields}
        before, began = _processor_s(), time.perf_counter()
        done = subprocess.run(
            [*_HOOK, event], input=json.dumps(given), env=env, capture_output=True, text=True
        )
        walls.append(time.perf_counter() - began)
        processor.append(_processor_s() - before)
        if done.returncode != 0:
            raise OpsError(f"`aegis hook {event}` ended with {done.returncode}: {done.stderr}")
        if (where, kind) == ("up", "prompt") and "disk was full" not in done.stdout:
            raise OpsError("`aegis hook UserPromptSubmit` did not answer with the memory.")
    name = f"{where}.{kind}"
    return {
        f"{name}.p50_ms": percentile(walls, 50) * 1000,
        f"{name}.p95_ms": percentile(walls, 95) * 1000,
        # What a busy machine does not stretch.
        f"{name}.processor_ms": median(processor) * 1000,
    }


def _bare() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
