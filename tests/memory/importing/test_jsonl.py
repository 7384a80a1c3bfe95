"""JSONL: anyone's objects become episodes, nothing is lost, and broken lines are named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import KINDS, import_path
from aegis.memory.importing.lines import read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory


def write(path: Path, *lines: Any) -> Path:
    with path.open("wb") as file:
        for line in lines:
            file.write(line if isinstance(line, bytes) else json.dumps(line).encode())
            file.write(b"\n")
    return path


def decision(**fields: Any) -> bytes:
    whole = {"task_context": "t", "alternatives": ["a"], "chosen_option": "a", "reasoning": "r"}
    return json.dumps({"kind": "decision"} | whole | fields).encode()


async def test_foreign_object_keeps_every_field(plain_memory: Memory, tmp_path: Path) -> None:
    line = {
        "text": "deployed",
        "time": "2026-05-01T09:00:00+02:00",
        "tags": ["release"],
        "author": "Ada",
        "session": 7,
        "type": "deploy",
        "build": {"number": 12},
    }
    await import_path(plain_memory, "jsonl", write(tmp_path / "a.jsonl", line))
    (episode,) = await plain_memory.list()
    assert episode.summary == "Ada: deployed"
    assert episode.timestamp == datetime(2026, 5, 1, 7, tzinfo=UTC)
    assert (episode.tags, episode.session_id) == (["release"], "7")
    assert episode.event_type == "deploy"
    assert episode.metadata == {"author": "Ada", "build": {"number": 12}}


@pytest.mark.parametrize("seconds", [1_750_000_000, 1_750_000_000.0, 1_750_000_000_000])
async def test_epoch_seconds_and_milliseconds_are_times(
    plain_memory: Memory, tmp_path: Path, seconds: float
) -> None:
    file = write(tmp_path / "a.jsonl", {"content": "x", "timestamp": seconds})
    await import_path(plain_memory, "jsonl", file)
    (episode,) = await plain_memory.list()
    assert episode.timestamp == datetime.fromtimestamp(1_750_000_000, UTC)


async def test_facts_and_decisions_are_recorded_once(plain_memory: Memory, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl",
        {"kind": "fact", "concept": "pgvector", "content": "has HNSW", "confidence": 0.9},
        {
            "kind": "decision",
            "task_context": "Store vectors",
            "alternatives": ["pgvector", "files"],
            "chosen_option": "pgvector",
            "reasoning": "one server",
            "outcome_status": "success",
            "lessons_learned": "indexes matter",
        },
    )
    first = await import_path(plain_memory, "jsonl", file)
    again = await import_path(plain_memory, "jsonl", file)
    assert (first.recorded, again.recorded, again.skipped) == (2, 0, 2)
    (fact,) = await plain_memory.facts.list()
    assert (fact.concept, fact.confidence) == ("pgvector", 0.9)
    (decision,) = await plain_memory.decisions.list()
    assert (decision.outcome_status, decision.lessons_learned) == ("success", "indexes matter")
    (episode,) = await plain_memory.list()
    assert decision.episode_id == episode.id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "not JSON"),
        (decision(confidence=2), "confidence is 2"),
        (decision(review_at="soon"), "review_at"),
        (decision(episodes=[{"episode_id": 1, "role": "boss"}]), "role is 'boss'"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": "x", "deep": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b'{"text": "x", "n": NaN}', "NaN is not a JSON number"),
        (b'{"text": "x", "n": 1e999}', "metadata cannot be stored"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"no": "words"}', "it has no text"),
        (b'{"text": 5}', "it has no text"),
        (b'{"text": "x", "time": "2026-05-01T09:00:00"}', "no time zone"),
        (b'{"text": "x", "time": "yesterday"}', "write a time"),
        (b'{"text": "x", "time": 1e300}', "is no time"),
        (b'{"text": "x", "time": []}', "write a time"),
        (b'{"text": "x", "tags": 5}', "tags is 5"),
        (b'{"text": "x", "importance": "huge"}', "use one of low"),
        (b'{"text": "x", "metadata": [1]}', "must be a JSON object"),
        (b'{"kind": "episode", "event_type": 5, "summary": "x"}', "must be text"),
        (b'{"kind": "episode", "event_type": "a"}', "summary is missing"),
        (b'{"text": "x", "session": "' + "木".encode() * 900 + b'"}', "session_id has 2,700 bytes"),
        (b'{"kind": "episode", "event_type": "a", "summary": "x", "source_id": 7}', "source_id"),
        (
            b'{"kind": "episode", "event_type": "a", "summary": "x", "related_memories": ["a"]}',
            "ids are whole numbers",
        ),
        (b'{"kind": "episode", "event_type": "a", "summary": "x", "embedding": "no"}', "embedding"),
        (b'{"kind": "fact", "concept": "a", "content": "b", "confidence": 2}', "confidence is 2"),
        (b'{"kind": "decision", "task_context": "a"}', "alternatives is missing"),
        (
            b'{"kind":"decision","task_context":"a","alternatives":["x"],"chosen_option":"y",'
            b'"reasoning":"z"}',
            "not among the alternatives",
        ),
        (b'{"kind": "header", "format": "aegis-memory", "version": 99}', "install a newer one"),
        (b"7" * 5000, "not JSON"),
    ],
)
async def test_broken_line_is_named_with_its_reason(
    plain_memory: Memory, tmp_path: Path, line: bytes, reason: str
) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "first"}, line, {"text": "last"})
    report = await import_path(plain_memory, "jsonl", file, skip_broken=True)
    assert (report.recorded, report.broken_count) == (2, 1)
    assert report.broken[0].place.number == 2
    assert reason in report.broken[0].reason


async def test_line_beyond_the_limit_is_broken_and_the_next_is_read(
    plain_memory: Memory, tmp_path: Path
) -> None:
    long = b'{"text": "' + b"x" * 33 * 2**20 + b'"}'
    file = write(tmp_path / "a.jsonl", long, {"text": "after"})
    report = await import_path(plain_memory, "jsonl", file, skip_broken=True)
    assert (report.recorded, report.broken_count) == (1, 1)
    assert "longer than" in report.broken[0].reason


def test_lines_are_cut_at_line_feeds_only_and_numbered_as_an_editor_does(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbfone\r\n\n \n\rtwo\xe2\x80\xa8\x0bstill\nthree")
    lines = list(read_lines(file))
    assert [line.data for line in lines] == [b"one", b"\rtwo\xe2\x80\xa8\x0bstill", b"three"]
    assert [line.number for line in lines] == [1, 4, 5]
    assert [line.terminated for line in lines] == [True, True, False]
    assert lines[-1].end == file.stat().st_size


async def test_identical_objects_are_one_memory_and_different_ids_are_two(
    plain_memory: Memory, tmp_path: Path
) -> None:
    same, other = {"text": "ok", "id": 1}, {"id": 2, "text": "ok"}
    reordered = {"id": 1, "text": "ok"}
    file = write(tmp_path / "a.jsonl", same, reordered, other)
    report = await import_path(plain_memory, "jsonl", file)
    assert (report.recorded, report.skipped) == (2, 1)


async def test_folder_is_read_file_by_file_and_links_are_not_followed(
    plain_memory: Memory, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    folder = tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    write(outside / "secret.jsonl", {"text": "secret"})
    write(folder / "a.jsonl", {"text": "a"})
    (folder / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (folder / "circle").symlink_to(folder)
    (folder / "other").symlink_to(outside)
    await import_path(plain_memory, "jsonl", folder)
    assert [e.summary for e in await plain_memory.list()] == ["a"]


@pytest.mark.parametrize("kind", KINDS)
async def test_path_that_is_not_there_is_said_so(
    plain_memory: Memory, tmp_path: Path, kind: Any
) -> None:
    with pytest.raises(InvalidInput, match="nowhere") as caught:
        await import_path(plain_memory, kind, tmp_path / "nowhere")
    assert caught.value.code == "import_path"


async def test_pipe_is_refused_instead_of_waited_for(plain_memory: Memory, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InvalidInput, match="not a regular file"):
        await import_path(plain_memory, "jsonl", tmp_path / "pipe.jsonl")


async def test_unknown_kind_and_namespace_are_refused(plain_memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="use one of jsonl, parquet"):
        await import_path(plain_memory, "csv", tmp_path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="namespace"):
        await import_path(plain_memory, "jsonl", tmp_path, namespace=" ")
