"""The spool: in order, whole or not at all, and nothing waits for anything."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aegis.sessions import spool

if TYPE_CHECKING:
    from pathlib import Path


def drained(folder: Path) -> list[Any]:
    found: list[Any] = []
    while (path := spool.claim(folder)) is not None:
        found += [json.loads(line) for batch in spool.read_batches(path, 3) for line in batch]
        path.unlink()
    return found


def test_records_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    for n in range(10):
        spool.append(tmp_path, {"n": n})
    assert not spool.is_empty(tmp_path)
    assert drained(tmp_path) == [{"n": n} for n in range(10)]
    assert spool.is_empty(tmp_path)


def test_two_sessions_that_write_at_once_lose_and_tear_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aegis.sessions.spool import append\n"
        "for n in range(60): append(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n, 'x': 'y'*9000})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who]) for who in ("a", "b")
    ]
    found: list[Any] = []
    while any(writer.poll() is None for writer in writers):
        found += drained(tmp_path)
    found += drained(tmp_path)
    assert [writer.returncode for writer in writers] == [0, 0]
    for who in ("a", "b"):
        assert [f["n"] for f in found if f["who"] == who] == list(range(60))


def test_what_a_crash_tore_does_not_take_the_next_line_with_it(tmp_path: Path) -> None:
    spool.append(tmp_path, {"n": 1})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"n": 2, "torn')
    spool.append(tmp_path, {"n": 3})
    path = spool.claim(tmp_path)
    assert path is not None
    (lines,) = spool.read_batches(path, 10)
    assert [json.loads(lines[0]), json.loads(lines[2])] == [{"n": 1}, {"n": 3}]


def test_full_disk_leaves_the_spool_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(tmp_path, {"n": 1})
    write = os.write

    def full(handle: int, text: bytes) -> int:
        if len(text) > 10:
            return write(handle, text[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            spool.append(tmp_path, {"n": 2})
    spool.append(tmp_path, {"n": 3})
    assert drained(tmp_path) == [{"n": 1}, {"n": 3}]


_UNTIL_FULL = """
import resource, signal, sys
from pathlib import Path
from aegis.sessions import spool
# The kernel writes what fits and refuses the rest, as on a full disk.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
folder, number = Path(sys.argv[1]), 0
try:
    while True:
        spool.append(folder, {"n": number, "text": "x" * 300})
        number += 1
except OSError as error:
    print(number, error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append(folder, {"n": number, "text": "again"})
"""


def test_kernel_that_takes_no_more_bytes_tears_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    number, errno = map(int, done.stdout.split())
    # The fault took effect, in the middle of a line.
    assert errno == 27 and 20 < number < 40
    found = drained(tmp_path)
    assert [record["n"] for record in found] == list(range(number + 1))
    assert found[-1]["text"] == "again"
    size = sum(len(json.dumps(one, separators=(",", ":"))) + 1 for one in found[:number])
    assert size <= 10_000 < size + 330


def test_whoever_was_stopped_with_the_lock_in_hand_holds_up_nobody(tmp_path: Path) -> None:
    spool.append(tmp_path, {"n": 1})
    with (tmp_path / "lock").open("r+") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        spool.append(tmp_path, {"n": 2})
    assert {f["n"] for f in drained(tmp_path)} == {1, 2}


def test_drain_that_was_cut_off_begins_again_with_the_same_events(tmp_path: Path) -> None:
    spool.append(tmp_path, {"n": 1})
    assert spool.claim(tmp_path) is not None
    spool.append(tmp_path, {"n": 2})
    assert drained(tmp_path) == [{"n": 1}, {"n": 2}]


def test_only_one_drains_at_a_time(tmp_path: Path) -> None:
    with spool.drain_lock(tmp_path) as first, spool.drain_lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with spool.drain_lock(tmp_path) as again:
        assert again


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool.append(folder, {"n": 1})
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "events.jsonl").stat().st_mode & 0o777 == 0o600


def test_spool_that_nobody_drains_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_BYTES", 100)
    spool.append(tmp_path, {"n": "x" * 50})
    with pytest.raises(OSError, match="nobody drained"):
        spool.append(tmp_path, {"n": "x" * 50})
