"""mem0's memories: statements that recall finds, with whose they are and when they were learnt."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path
from tests.memory.importing.exports import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory


def memory_of(number: int, text: Any, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"892db2ae-{number}",
        "memory": text,
        "hash": "c35f4b5a",
        "metadata": None,
        "created_at": "2026-05-01T09:00:00.275141-07:00",
        "updated_at": None,
        "user_id": "alex",
        **changes,
    }


TWO = [
    memory_of(1, "Vegetarian and allergic to nuts"),
    memory_of(
        2,
        "Plays tennis on Tuesdays",
        metadata={"source": "chat", "user_id": "not this one"},
        updated_at="2026-05-02T09:00:00Z",
        agent_id="coach",
        run_id="run-7",
        categories=["sports", "habits"],
        score=0.3,
    ),
]


@pytest.mark.parametrize("wrapped", [True, False])
async def test_memories_become_episodes(
    plain_memory: Memory, tmp_path: Path, wrapped: bool
) -> None:
    content = {"results": TWO, "relations": []} if wrapped else TWO
    file = write_json(tmp_path / "mem0.json", content)
    for recorded in (2, 0):  # the second time there is nothing new
        report = await import_path(plain_memory, "mem0", file)
        assert (report.recorded, report.skipped) == (recorded, 2 - recorded)
    tennis, nuts = sorted(await plain_memory.list(), key=lambda e: e.summary)
    assert nuts.summary == "Vegetarian and allergic to nuts"
    assert (nuts.event_type, nuts.source_id) == ("memory", "mem0:892db2ae-1")
    assert nuts.timestamp == datetime(2026, 5, 1, 16, 0, 0, 275141, tzinfo=UTC)
    assert (nuts.session_id, nuts.tags, nuts.metadata) == (None, ["mem0"], {"user_id": "alex"})
    assert (tennis.session_id, tennis.tags) == ("run-7", ["mem0", "sports", "habits"])
    assert tennis.metadata == {
        "source": "chat",
        "user_id": "alex",
        "agent_id": "coach",
        "run_id": "run-7",
        "updated_at": "2026-05-02T09:00:00+00:00",
    }


async def test_recall_finds_them_by_meaning(memory: Memory, tmp_path: Path) -> None:
    await import_path(memory, "mem0", write_json(tmp_path / "mem0.json", TWO))
    (hit, *_) = await memory.recall("which sport does the user do?")
    assert hit.episode.summary == "Plays tennis on Tuesdays"


async def test_memory_without_an_id_is_known_by_its_content(
    plain_memory: Memory, tmp_path: Path
) -> None:
    nameless = [memory_of(1, "a", id=None), memory_of(1, "b", id=None)]
    file = write_json(tmp_path / "mem0.json", nameless)
    await import_path(plain_memory, "mem0", file)
    report = await import_path(plain_memory, "mem0", file)
    assert (report.recorded, report.skipped) == (0, 2)


BROKEN: list[tuple[Any, str]] = [
    (memory_of(2, ""), "memory is ''"),
    (memory_of(2, None), "memory is None"),
    (memory_of(2, ["a"]), "memory is a list"),
    (memory_of(2, "a\x00b"), "NUL"),
    (memory_of(2, "x", metadata=[1]), "metadata is a list"),
    (memory_of(2, "x", metadata={"a": {"b": "\x00"}}), "NUL"),
    (memory_of(2, "x", created_at="soon"), "created_at is 'soon'"),
    (memory_of(2, "x", categories="sports"), "categories is 'sports'"),
    (memory_of(2, "x", categories=[7]), "tags[1] is 7"),
    ("text", "not a JSON object"),
]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(("broken", "reason"), BROKEN, ids=range(len(BROKEN)))
async def test_broken_memory_is_named_and_its_neighbours_are_recorded(
    plain_memory: Memory, tmp_path: Path, broken: Any, reason: str, wrapped: bool
) -> None:
    memories = [memory_of(1, "first"), broken, memory_of(3, "last")]
    file = write_json(tmp_path / "mem0.json", {"results": memories} if wrapped else memories)
    with pytest.raises(InvalidInput, match="1 before it") as caught:
        await import_path(plain_memory, "mem0", file)
    assert f"{'memory' if wrapped else 'value'} 2: " in str(caught.value)
    assert reason in str(caught.value)
    report = await import_path(plain_memory, "mem0", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (1, 1, 1)


async def test_results_that_are_no_list_are_refused(plain_memory: Memory, tmp_path: Path) -> None:
    file = write_json(tmp_path / "mem0.json", {"results": {"a": 1}})
    with pytest.raises(InvalidInput, match="results is an object; it must be a list"):
        await import_path(plain_memory, "mem0", file)


async def test_answers_one_after_the_other_are_told_apart(
    plain_memory: Memory, tmp_path: Path
) -> None:
    pages = [{"results": [memory_of(1, "a")]}, {"results": [memory_of(2, "b"), {}]}]
    file = write_json(tmp_path / "mem0.json", pages)
    report = await import_path(plain_memory, "mem0", file, skip_broken=True)
    assert report.recorded == 2
    assert str(report.broken[0].place) == f"{file}, value 2, memory 2"
