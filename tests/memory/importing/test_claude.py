"""Claude.ai's export: each message's words, once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path
from tests.memory.importing.exports import (
    claude_conversation,
    claude_message,
    write_json,
    write_zip,
)

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory

HELLO = claude_conversation(
    "c1",
    claude_message("m1", "human", "What is HNSW?"),
    claude_message("m2", "assistant", "A graph index.", created_at="2026-05-01T09:00:09Z"),
)


async def test_words_become_episodes_of_their_conversation(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = write_json(tmp_path / "conversations.json", [HELLO])
    report = await import_path(plain_memory, "claude", file)
    assert (report.recorded, report.passed_over) == (2, {})
    answer, question = await plain_memory.list()
    assert (question.summary, question.event_type) == ("What is HNSW?", "user_prompt")
    assert (answer.summary, answer.event_type) == ("A graph index.", "assistant_message")
    assert question.timestamp == datetime(2026, 5, 1, 9, 0, 0, 123456, tzinfo=UTC)
    assert (question.session_id, question.source_id) == ("c1", "claude.ai:c1/m1")
    assert (question.metadata, question.tags) == ({"title": "About c1"}, ["claude.ai"])


async def test_what_is_not_text_is_named_and_left_out(plain_memory: Memory, tmp_path: Path) -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "name": "web_search", "input": {"query": "x"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "found"}]},
        {"type": "tool_use", "name": "web_search", "input": {"query": "y"}},
        {"type": "text", "text": "Here it is."},
    ]
    conversation = claude_conversation(
        "c2",
        claude_message(
            "m1",
            "human",
            "Read these",
            attachments=[{"file_name": "a.txt", "extracted_content": "long", "file_size": 4}],
            files=[{"file_name": "b.png"}, {"file_name": None}],
        ),
        claude_message("m2", "assistant", "stopgap", content=blocks),
        claude_message("m3", "assistant", "stopgap", content=blocks[2:4]),
        claude_message("m4", "human", "old export", content=[]),
        claude_message("m5", "system", "not kept"),
    )
    file = write_json(tmp_path / "conversations.json", [conversation, claude_conversation("c3")])
    report = await import_path(plain_memory, "claude", file)
    by_key = {str(e.source_id)[-2:]: e for e in await plain_memory.list()}
    assert by_key["m1"].metadata == {"title": "About c2", "files": ["a.txt", "b.png"]}
    assert by_key["m2"].summary == "Let me look.\n\nHere it is."
    assert by_key["m2"].metadata == {
        "title": "About c2",
        "left_out": {"thinking": 1, "tool_use": 2, "tool_result": 1},
    }
    assert by_key["m4"].summary == "old export"
    assert set(by_key) == {"m1", "m2", "m4"}
    assert report.passed_over == {
        "message without text": 1,
        "message of sender system": 1,
        "conversation without messages": 1,
    }


async def test_second_import_adds_only_what_was_said_since(
    plain_memory: Memory, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "a.zip", conversations_json=[HELLO], users_json=[])
    await import_path(plain_memory, "claude", path)
    said = [*HELLO["chat_messages"], claude_message("m3", "human", "and IVF?")]
    write_zip(path, conversations_json=[HELLO | {"chat_messages": said}])
    report = await import_path(plain_memory, "claude", path)
    assert (report.recorded, report.skipped) == (1, 2)


BROKEN: list[tuple[Any, str]] = [
    (claude_conversation("c", uuid=None), "uuid is None"),
    (claude_conversation("c", chat_messages={}), "chat_messages is an object"),
    (claude_conversation("c", "text"), "message 1: it is 'text'"),
    (claude_conversation("c", claude_message("", "human", "x")), "message 1: uuid is ''"),
    (
        claude_conversation("c", claude_message("m", "human", "x", created_at="2026-05-01")),
        "no time zone",
    ),
    (
        claude_conversation("c", claude_message("m", "human", "x", created_at=[])),
        "write a time",
    ),
    (
        claude_conversation(
            "c", claude_message("m", "human", "x", created_at=None), created_at=None
        ),
        "created_at is missing",
    ),
    (5, "it is 5, not a JSON object"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN, ids=range(len(BROKEN)))
async def test_broken_entry_is_named_and_its_neighbours_are_recorded(
    plain_memory: Memory, tmp_path: Path, broken: Any, reason: str
) -> None:
    last = claude_conversation("last", claude_message("m", "human", "last"))
    file = write_json(tmp_path / "conversations.json", [HELLO, broken, last])
    with pytest.raises(InvalidInput, match=r"conversation 2: .*2 before it") as caught:
        await import_path(plain_memory, "claude", file)
    assert reason in str(caught.value)
    report = await import_path(plain_memory, "claude", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (1, 2, 1)
