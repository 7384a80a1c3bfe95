"""A run of an import: whole or resumed, once, in order, with one clear error."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import Progress, import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory

#: Imports a file and says so after each chunk; the test kills it after the first word.
_CHILD = """
import asyncio, sys
from aegis.config import load_settings
from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.importing import import_path

async def main(dsn, path):
    async with await Database.open(dsn, load_settings({}), min_size=1) as db:
        memory = Memory(db, None, namespace="default")
        await import_path(memory, "jsonl", path,
                          on_progress=lambda p: print(p.recorded, flush=True))

asyncio.run(main(*sys.argv[1:]))
"""


def numbered(path: Path, count: int, *, broken: int | None = None) -> Path:
    with path.open("w") as file:
        for i in range(1, count + 1):
            file.write("{broken\n" if i == broken else json.dumps({"text": f"line {i}"}) + "\n")
    return path


async def test_killed_import_is_completed_by_the_next_without_repeats(
    plain_memory: Memory, dsn: str, tmp_path: Path
) -> None:
    file = numbered(tmp_path / "a.jsonl", 20_000)
    child = subprocess.Popen([sys.executable, "-c", _CHILD, dsn, str(file)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    await anyio.to_thread.run_sync(child.stdout.readline)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    there = await plain_memory.count()
    assert 0 < there < 20_000
    assert there % 500 == 0  # whole batches only
    report = await import_path(plain_memory, "jsonl", file)
    # A batch that the killed process had sent whole may commit a moment later.
    assert report.recorded + report.skipped == 20_000
    assert report.skipped >= there
    assert await plain_memory.count() == 20_000


async def test_two_imports_of_one_source_at_once_record_each_item_once(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = numbered(tmp_path / "a.jsonl", 5_000)
    recorded: list[int] = []

    async def one() -> None:
        recorded.append((await import_path(plain_memory, "jsonl", file)).recorded)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert sum(recorded) == 5_000
    assert await plain_memory.count() == 5_000


async def test_broken_line_ends_the_import_with_all_before_it_recorded(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = numbered(tmp_path / "a.jsonl", 1_500, broken=1_203)
    with pytest.raises(InvalidInput) as caught:
        await import_path(plain_memory, "jsonl", file)
    assert caught.value.code == "import_broken"
    assert str(caught.value).startswith(f"{file}, line 1203: it is not JSON")
    assert "\n" not in str(caught.value)
    assert await plain_memory.count() == 1_202


async def test_corrected_file_is_imported_to_its_end(plain_memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        await import_path(plain_memory, "jsonl", numbered(tmp_path / "a.jsonl", 900, broken=700))
    report = await import_path(plain_memory, "jsonl", numbered(tmp_path / "a.jsonl", 900))
    assert (report.recorded, report.skipped) == (201, 699)


async def test_skip_broken_lists_what_it_passed_over(plain_memory: Memory, tmp_path: Path) -> None:
    file = numbered(tmp_path / "a.jsonl", 1_500, broken=1_203)
    report = await import_path(plain_memory, "jsonl", file, skip_broken=True)
    assert (report.read, report.recorded, report.broken_count) == (1_500, 1_499, 1)
    assert str(report.broken[0].place) == f"{file}, line 1203"


async def test_progress_rises_to_the_total(plain_memory: Memory, tmp_path: Path) -> None:
    file = numbered(tmp_path / "a.jsonl", 1_200)
    seen: list[Progress] = []
    await import_path(plain_memory, "jsonl", file, on_progress=seen.append)
    assert [p.recorded for p in seen] == [500, 1_000, 1_200]
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == file.stat().st_size


async def test_what_is_there_is_not_embedded_again(memory: Memory, tmp_path: Path) -> None:
    file = numbered(tmp_path / "a.jsonl", 20)
    await import_path(memory, "jsonl", file)
    assert memory.embedder is not None

    class Refusing:
        model = memory.embedder.model
        dimensions = memory.embedder.dimensions

        async def embed(self, texts: object) -> object:
            raise AssertionError("embedded again")

    memory._embedder = Refusing()  # pyright: ignore[reportAttributeAccessIssue]
    assert (await import_path(memory, "jsonl", file)).skipped == 20


async def test_embed_false_leaves_vectors_to_the_backfill(memory: Memory, tmp_path: Path) -> None:
    await import_path(memory, "jsonl", numbered(tmp_path / "a.jsonl", 3), embed=False)
    assert not any(e.embedded for e in await memory.list())
    assert await memory.backfill() == 3


async def test_value_that_only_postgresql_refuses_is_named_too(
    plain_memory: Memory, memory: Memory, tmp_path: Path
) -> None:
    assert memory.embedder is not None
    short = {"embedding": [0.5, 0.5], "embedding_model": memory.embedder.model}
    lines = [{"kind": "episode", "event_type": "n", "summary": f"{i}"} for i in range(5)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(e | (short if i == 2 else {})) + "\n"
                            for i, e in enumerate(lines)))  # fmt: skip
    with pytest.raises(InvalidInput, match=r"a\.jsonl, line 3: .*2 before it"):
        await import_path(plain_memory, "jsonl", file)
    assert await plain_memory.count() == 2
    report = await import_path(plain_memory, "jsonl", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (2, 2, 1)
