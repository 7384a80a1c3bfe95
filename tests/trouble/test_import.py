"""A file with a broken line in the middle: what is before it stays, and nothing comes twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aegis.memory.importing import KINDS
from tests.db.rows import value
from tests.memory.importing.exports import claude_conversation, claude_message, write_json
from tests.trouble.refusal import refused, run

if TYPE_CHECKING:
    from pathlib import Path

GOOD = [{"text": f"memory number {n}", "time": f"2026-05-01T09:{n:02}:00+00:00"} for n in range(6)]


def write(path: Path, third: str) -> Path:
    lines = [json.dumps(line) for line in GOOD]
    lines[2] = third
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[1, 2]",
        '{"time": "2026-05-01T09:00:00Z"}',
        '{"text": "x", "time": "2026-05-01T09:00:00"}',
        '{"text": "x", "importance": "urgent"}',
        '{"text": "x", "score": NaN}',
        '{"text": "a\\u0000b"}',
        '{"text": "a\\ud800b"}',
        "[" * 100_000,
        '{"kind": "episode", "event_type": "x"}',
    ],
    ids=range(10),
)
def test_broken_line_ends_the_import_with_its_place(tmp_path: Path, dsn: str, broken: str) -> None:
    file = write(tmp_path / "history.jsonl", broken)
    command = ("memory", "import", "jsonl", str(file))
    line = refused(tmp_path, *command, status=2, code="import_broken", database_url=dsn)
    assert "line 3" in line
    assert "2 before it are recorded" in line
    assert len(line) < 500
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 2


def test_corrected_file_is_imported_to_its_end_and_nothing_twice(tmp_path: Path, dsn: str) -> None:
    file = write(tmp_path / "history.jsonl", "{")
    command = ("memory", "import", "jsonl", str(file))
    refused(tmp_path, *command, status=2, code="import_broken", database_url=dsn)
    write(file, json.dumps(GOOD[2]))
    done = run(tmp_path, *command, "--json", database_url=dsn, embedder="none")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["recorded"], report["skipped"], report["broken_count"]) == (4, 2, 0)
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 6
    assert value(dsn, "SELECT count(DISTINCT summary) FROM episodic_memory") == 6


def test_broken_line_can_be_passed_over_and_is_reported(tmp_path: Path, dsn: str) -> None:
    file = write(tmp_path / "history.jsonl", "{")
    done = run(
        tmp_path,
        "memory",
        "import",
        "jsonl",
        str(file),
        "--skip-broken",
        "--json",
        database_url=dsn,
        embedder="none",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["recorded"], report["broken_count"]) == (5, 1)
    assert report["broken"][0]["place"]["number"] == 3


def test_chats_cut_off_by_a_download_are_kept_and_completed_later(tmp_path: Path, dsn: str) -> None:
    chats = [
        claude_conversation(f"c{n}", claude_message("m", "human", f"question {n}"))
        for n in range(6)
    ]
    file = write_json(tmp_path / "conversations.json", chats)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[: whole.index("question 4")], encoding="utf-8")
    command = ("memory", "import", "claude", str(file))
    line = refused(tmp_path, *command, status=2, code="import_broken", database_url=dsn)
    assert "conversation 5" in line
    assert "4 before it are recorded" in line
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 4
    file.write_text(whole, encoding="utf-8")
    done = run(tmp_path, *command, "--json", database_url=dsn, embedder="none")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["recorded"], report["skipped"], report["broken_count"]) == (2, 4, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_path_without_anything_of_the_kind_is_refused(tmp_path: Path, dsn: str, kind: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (empty, tmp_path / "nothing"):
        done = run(tmp_path, "memory", "import", kind, str(path), database_url=dsn)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1
        assert str(path) in done.stderr
    assert value(dsn, "SELECT count(*) FROM episodic_memory") == 0
