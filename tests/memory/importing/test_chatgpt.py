"""ChatGPT's export: the conversation that the user sees, its words, once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import Progress, import_path
from tests.memory.importing.exports import (
    chatgpt_conversation,
    chatgpt_message,
    write_json,
    write_zip,
)

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory

HELLO = chatgpt_conversation(
    "c1",
    chatgpt_message("system", "", at=None),
    chatgpt_message("user", "What is HNSW?", at=1_750_000_000.5),
    chatgpt_message(
        "assistant", "A graph index.", at=1_750_000_007, metadata={"model_slug": "gpt-4o"}
    ),
)

#: Imports a zip and says so after each chunk; the test kills it after the first word.
_CHILD = """
import asyncio, sys
from aegis.config import load_settings
from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.importing import import_path

async def main(dsn, path):
    async with await Database.open(dsn, load_settings({}), min_size=1) as db:
        memory = Memory(db, None, namespace="default")
        await import_path(memory, "chatgpt", path,
                          on_progress=lambda p: print(p.recorded, flush=True))

asyncio.run(main(*sys.argv[1:]))
"""


def two_branches(current: str | None) -> dict[str, Any]:
    """A question that was put twice, each with an answer."""
    conversation = chatgpt_conversation(
        "c2", chatgpt_message("user", "first try"), chatgpt_message("assistant", "old answer")
    )
    mapping = conversation["mapping"]
    mapping["c2-root"]["children"].append("again")
    mapping["again"] = {
        "id": "again",
        "message": chatgpt_message("user", "second try"),
        "parent": "c2-root",
        "children": ["answer"],
    }
    mapping["answer"] = {
        "id": "answer",
        "message": chatgpt_message("assistant", "new answer"),
        "parent": "again",
        "children": [],
    }
    return conversation | {"current_node": current}


async def summaries(memory: Memory) -> list[str]:
    return [e.summary for e in reversed(await memory.list(limit=1000))]


async def test_words_become_episodes_of_their_conversation(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = write_json(tmp_path / "conversations.json", [HELLO])
    report = await import_path(plain_memory, "chatgpt", file)
    assert (report.read, report.recorded) == (2, 2)
    assert report.passed_over == {"message of role system": 1}
    answer, question = await plain_memory.list()
    assert (question.summary, question.event_type) == ("What is HNSW?", "user_prompt")
    assert (answer.summary, answer.event_type) == ("A graph index.", "assistant_message")
    assert question.timestamp == datetime.fromtimestamp(1_750_000_000.5, UTC)
    assert (question.session_id, question.source_id) == ("c1", "chatgpt:c1/c1-2")
    assert question.metadata == {"title": "About c1"}
    assert answer.metadata == {"title": "About c1", "model": "gpt-4o"}
    assert answer.tags == ["chatgpt"]


@pytest.mark.parametrize("current", ["answer", None])
async def test_only_the_current_branch_is_kept(
    plain_memory: Memory, tmp_path: Path, current: str | None
) -> None:
    file = write_json(tmp_path / "conversations.json", [two_branches(current)])
    await import_path(plain_memory, "chatgpt", file)
    assert await summaries(plain_memory) == ["second try", "new answer"]


async def test_another_current_branch_is_another_conversation(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = write_json(tmp_path / "conversations.json", [two_branches("c2-2")])
    await import_path(plain_memory, "chatgpt", file)
    assert await summaries(plain_memory) == ["first try", "old answer"]


async def test_what_is_not_text_is_named_and_left_out(plain_memory: Memory, tmp_path: Path) -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    spoken = {"content_type": "audio_transcription", "text": "said aloud", "direction": "in"}
    pictured = chatgpt_message(
        "user",
        image,
        image,
        "Look at these",
        spoken,
        kind="multimodal_text",
        metadata={"attachments": [{"id": "f", "name": "a.pdf", "mime_type": "x"}, {"id": "g"}]},
    )
    conversation = chatgpt_conversation(
        "c3",
        pictured,
        chatgpt_message("user", image, kind="multimodal_text"),
        chatgpt_message("assistant", "print(1)", kind="code"),
        chatgpt_message("assistant", "search(1)", recipient="browser"),
        chatgpt_message("tool", "1", kind="execution_output"),
        chatgpt_message("user", "secret", metadata={"is_visually_hidden_from_conversation": True}),
        {"author": {"role": "assistant"}, "content": {"content_type": "thoughts", "thoughts": []}},
    )
    file = write_json(tmp_path / "conversations.json", [conversation])
    report = await import_path(plain_memory, "chatgpt", file)
    (episode,) = await plain_memory.list()
    assert episode.summary == "Look at these\n\nsaid aloud"
    assert episode.metadata == {
        "title": "About c3",
        "left_out": {"image_asset_pointer": 2},
        "files": ["a.pdf"],
    }
    assert report.passed_over == {
        "message without text": 1,
        "content of type code": 1,
        "message to a tool": 1,
        "message of role tool": 1,
        "hidden message": 1,
        "content of type thoughts": 1,
    }


async def test_message_without_a_time_has_that_of_the_one_before(
    plain_memory: Memory, tmp_path: Path
) -> None:
    conversation = chatgpt_conversation(
        "c4",
        chatgpt_message("user", "one", at=None),
        chatgpt_message("assistant", "two", at=1_750_000_050),
        chatgpt_message("user", "three", at=None),
    )
    file = write_json(tmp_path / "conversations.json", [conversation])
    await import_path(plain_memory, "chatgpt", file)
    episodes = {e.summary: e.timestamp.timestamp() for e in await plain_memory.list()}
    assert episodes == {"one": 1_749_999_999.25, "two": 1_750_000_050, "three": 1_750_000_050}


async def test_hostile_text_is_stored_and_long_text_is_cut(
    plain_memory: Memory, tmp_path: Path
) -> None:
    conversation = chatgpt_conversation(
        "c5",
        chatgpt_message("user", "a\x00b \ud800 🐘"),
        chatgpt_message("assistant", "x" * 50_001),
        title="\x00title",
    )
    file = write_json(tmp_path / "conversations.json", [conversation])
    await import_path(plain_memory, "chatgpt", file)
    long, odd = await plain_memory.list()
    assert (odd.summary, odd.metadata) == ("ab ? 🐘", {"title": "title"})
    assert (len(long.summary), long.details) == (50_000, {"characters": 50_001})


@pytest.mark.parametrize("where", ["file", "folder", "zip", "shards", "zip of shards"])
async def test_export_is_found_wherever_it_is(
    plain_memory: Memory, tmp_path: Path, where: str
) -> None:
    other = chatgpt_conversation("c9", chatgpt_message("user", "another"))
    folder = tmp_path / "export"
    folder.mkdir()
    write_json(folder / "user.json", {"id": "user-1"})
    path = folder
    match where:
        case "file":
            path = write_json(folder / "my chats.json", [HELLO, other])
        case "folder":
            write_json(folder / "conversations.json", [HELLO, other])
        case "zip":
            path = write_zip(
                tmp_path / "e.zip", chat_html="<html>", conversations_json=[HELLO, other]
            )
        case "shards":
            write_json(folder / "conversations-000.json", [HELLO])
            write_json(folder / "conversations-001.json", [other])
        case _:
            path = write_zip(
                tmp_path / "e.zip",
                **{"export/conversations-000.json": [HELLO], "conversations-001.json": [other]},
            )
    for recorded in (3, 0):  # the second time there is nothing new
        report = await import_path(plain_memory, "chatgpt", path)
        assert (report.recorded, report.skipped) == (recorded, 3 - recorded)
    assert set(await summaries(plain_memory)) == {"What is HNSW?", "A graph index.", "another"}


def _without(conversation: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in conversation.items() if k not in names}


def _circle() -> dict[str, Any]:
    conversation = chatgpt_conversation("c", chatgpt_message("user", "round and round"))
    conversation["mapping"]["c-root"]["parent"] = "c-1"
    return conversation


BROKEN = [
    ("text", "not a JSON object"),
    (None, "not a JSON object"),
    ([[]], "it is a list, not a JSON object"),
    (_without(HELLO, "id", "conversation_id"), "conversation_id is None"),
    (HELLO | {"conversation_id": 7}, "conversation_id is 7"),
    (_without(HELLO, "mapping"), "mapping is None"),
    (HELLO | {"mapping": []}, "mapping is a list"),
    (HELLO | {"current_node": "gone"}, "current_node is 'gone', which is not in mapping"),
    (HELLO | {"current_node": ["x"]}, "current_node is a list"),
    (HELLO | {"mapping": {"a": 5}, "current_node": "a"}, "message 'a' is 5"),
    (HELLO | {"mapping": {"a": {"parent": 5}}, "current_node": "a"}, "parent of 'a' is 5"),
    (_circle(), "comes after itself"),
    (HELLO | {"create_time": "yesterday"}, "create_time is 'yesterday'"),
    (chatgpt_conversation("c", chatgpt_message("user", "x", at=1e300)), "which is no time"),
    (
        chatgpt_conversation("c", chatgpt_message("user", "x", at=None), create_time=None),
        "message 'c-1': create_time is missing",
    ),
    (chatgpt_conversation("木" * 400, chatgpt_message("user", "x")), "1,200 bytes"),
    (chatgpt_conversation("\ud800", chatgpt_message("user", "x")), "surrogate"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN, ids=range(len(BROKEN)))
async def test_broken_conversation_is_named_and_its_neighbours_are_recorded(
    plain_memory: Memory, tmp_path: Path, broken: Any, reason: str
) -> None:
    last = chatgpt_conversation("last", chatgpt_message("user", "last"))
    file = write_json(tmp_path / "conversations.json", [HELLO, broken, last])
    with pytest.raises(InvalidInput) as caught:
        await import_path(plain_memory, "chatgpt", file)
    assert caught.value.code == "import_broken"
    assert str(caught.value).startswith(f"{file}, conversation 2: ")
    assert reason in str(caught.value)
    assert "2 before it are recorded" in str(caught.value)
    assert "\n" not in str(caught.value)
    report = await import_path(plain_memory, "chatgpt", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (1, 2, 1)


async def test_killed_import_of_a_zip_is_completed_by_the_next(
    plain_memory: Memory, dsn: str, tmp_path: Path
) -> None:
    conversations = [
        chatgpt_conversation(
            f"c{c}", *(chatgpt_message("user", f"{c}: sentence {i}") for i in range(50))
        )
        for c in range(200)
    ]
    file = write_zip(tmp_path / "e.zip", conversations_json=conversations)
    child = subprocess.Popen([sys.executable, "-c", _CHILD, dsn, str(file)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    await anyio.to_thread.run_sync(child.stdout.readline)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    there = await plain_memory.count()
    assert 0 < there < 10_000
    report = await import_path(plain_memory, "chatgpt", file)
    assert report.recorded + report.skipped == 10_000
    assert report.skipped >= there
    assert await plain_memory.count() == 10_000


async def test_progress_rises_to_the_uncompressed_size(
    plain_memory: Memory, tmp_path: Path
) -> None:
    conversations = [
        chatgpt_conversation(f"c{c}", *(chatgpt_message("user", "x" * 500) for _ in range(100)))
        for c in range(20)
    ]
    file = write_zip(tmp_path / "e.zip", conversations_json=conversations)
    seen: list[Progress] = []
    await import_path(plain_memory, "chatgpt", file, on_progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert 0 < seen[0].done < seen[-1].done == seen[-1].total == len(json.dumps(conversations))
