"""Labelled conversations: a namespace each, sessions apart, the order of the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory


def message(number: int, *, session: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"D{session}:{number}",
        "session": session,
        "time": "2023-05-08T13:56:00+00:00",
        "author": "Ada",
        "text": f"sentence {number}",
        **changes,
    }


def conversation(path: Path, name: str, *messages: Any) -> Path:
    path.write_text(
        json.dumps(
            {"source": "LoCoMo", "conversation": name, "messages": messages, "questions": []}
        )
    )
    return path


async def test_each_conversation_has_its_own_namespace(
    plain_memory: Memory, tmp_path: Path
) -> None:
    conversation(tmp_path / "a.json", "26", message(1), message(2, session="2"))
    conversation(tmp_path / "b.json", "30", message(1))
    report = await import_path(plain_memory, "conversations", tmp_path)
    assert report.namespaces == ["locomo-26", "locomo-30"]
    (episode,) = await plain_memory.list(namespace="locomo-30")
    assert (episode.summary, episode.event_type) == ("Ada: sentence 1", "message")
    assert (episode.session_id, episode.source_id) == ("locomo-30/1", "locomo:30/D1:1")
    assert episode.metadata == {"author": "Ada", "message_id": "D1:1"}


async def test_conversations_in_one_namespace_keep_their_sessions_apart(
    plain_memory: Memory, tmp_path: Path
) -> None:
    conversation(tmp_path / "a.json", "26", message(1))
    conversation(tmp_path / "b.json", "30", message(1))
    report = await import_path(plain_memory, "conversations", tmp_path, namespace="all")
    episodes = await plain_memory.list(namespace="all")
    assert (report.namespaces, report.recorded) == (["all"], 2)
    assert {e.session_id for e in episodes} == {"locomo-26/1", "locomo-30/1"}


async def test_messages_of_equal_time_keep_their_order(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = conversation(tmp_path / "a.json", "26", *(message(i) for i in range(1, 700)))
    await import_path(plain_memory, "conversations", file)
    episodes = await plain_memory.list(namespace="locomo-26", limit=1000)
    newest_first = [f"Ada: sentence {i}" for i in range(699, 0, -1)]
    assert [e.summary for e in episodes] == newest_first


async def test_second_import_adds_nothing(plain_memory: Memory, tmp_path: Path) -> None:
    file = conversation(tmp_path / "a.json", "26", message(1), message(2))
    await import_path(plain_memory, "conversations", file)
    report = await import_path(plain_memory, "conversations", file)
    assert (report.recorded, report.skipped) == (0, 2)


@pytest.mark.parametrize(
    "broken",
    [
        message(2, text=""),
        message(2, time="2023-05-08T13:56:00"),
        message(2, author=None),
        message(2, id=7),
        "text",
        None,
    ],
)
async def test_broken_message_is_named_and_those_before_it_are_recorded(
    plain_memory: Memory, tmp_path: Path, broken: Any
) -> None:
    file = conversation(tmp_path / "a.json", "26", message(1), broken, message(3))
    with pytest.raises(InvalidInput, match=r"a\.json, message 2: "):
        await import_path(plain_memory, "conversations", file)
    assert await plain_memory.count(namespace="locomo-26") == 1


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"source": "x"}', '{"source": "x", "conversation": "1", "messages": {}}'],
)
async def test_file_that_is_no_conversation_is_said_so(
    plain_memory: Memory, tmp_path: Path, content: str
) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"a\.json") as caught:
        await import_path(plain_memory, "conversations", tmp_path)
    assert caught.value.code == "import_broken"
