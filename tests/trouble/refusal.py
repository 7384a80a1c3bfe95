"""How every trouble has to end, whoever meets it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tests.serving import CALL, environment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refused", "run"]


def run(data_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command, which must end by itself: one that serves after all is an error."""
    return subprocess.run(
        [*CALL, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(data_dir, **{"embedder": "none", **settings}),
        check=False,
        timeout=60,
    )


def refused(data_dir: Path, *arguments: str, status: int, code: str, **settings: str) -> str:
    """Run a command, assert that it ends in one line with `code` and `status`; return the line."""
    done = run(data_dir, *arguments, **settings)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert re.fullmatch(rf"aegis: [^\n]+ \[{code}\]\n", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
