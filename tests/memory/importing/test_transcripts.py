"""Transcripts: what was said and what failed, once, without thinking, inputs and secrets."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Episode, Memory

_uuids = (f"uuid-{n}" for n in itertools.count())


def line(kind: str, content: Any, *, message: dict[str, Any] | None = None, **more: Any) -> Any:
    return {
        "type": kind,
        "uuid": next(_uuids),
        "sessionId": "s1",
        "timestamp": "2026-05-01T09:00:00.000Z",
        "cwd": "/home/ada/project",
        "gitBranch": "main",
        "message": {"role": kind, "content": content, **(message or {})},
        **more,
    }


def text(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}]


def answer(words: str, message_id: str, **more: Any) -> Any:
    return line("assistant", text(words), message={"id": message_id, "model": "m-1"}, **more)


def transcript(path: Path, *lines: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


async def imported(memory: Memory, path: Path) -> list[Episode]:
    await import_path(memory, "transcripts", path)
    return (await memory.list())[::-1]


async def test_prompts_and_answers_are_episodes_of_their_session(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = transcript(
        tmp_path / "s1.jsonl",
        {"type": "summary", "summary": "Fix the build"},
        line("user", "Why does it fail?"),
        answer("A pin is missing.", "m1"),
    )
    prompt, reply = await imported(plain_memory, file)
    assert (prompt.event_type, prompt.summary) == ("user_prompt", "Why does it fail?")
    assert prompt.context == {
        "cwd": "/home/ada/project",
        "git_branch": "main",
        "title": "Fix the build",
    }
    assert (reply.event_type, reply.summary) == ("assistant_message", "A pin is missing.")
    assert reply.context is not None
    assert reply.context["model"] == "m-1"
    assert {prompt.session_id, reply.session_id} == {"s1"}
    assert prompt.source_id is not None
    assert prompt.source_id.startswith("claude:s1/uuid-")


async def test_blocks_of_one_message_are_one_episode_and_repeats_are_dropped(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = transcript(
        tmp_path / "s1.jsonl",
        line("assistant", [{"type": "thinking", "thinking": "hidden"}], message={"id": "m1"}),
        answer("First.", "m1"),
        answer("First.", "m1"),
        line(
            "assistant",
            [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}],
            message={"id": "m1"},
        ),
        line("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "file list"}]),
        answer("Second.", "m1"),
        answer("Other.", "m2"),
    )
    episodes = await imported(plain_memory, file)
    assert [e.summary for e in episodes] == ["First.\n\nSecond.", "Other."]


async def test_failed_tool_is_kept_with_a_preview_and_without_secrets(
    plain_memory: Memory, tmp_path: Path
) -> None:
    command = "curl -H 'Authorization: Bearer abcdef0123456789' https://u:hunter22@h/ " + "x" * 900
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": command}}
    failed = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "is_error": True,
        "content": text("exit 22: API_KEY=sk-ant-0123456789abcdefghij refused"),
    }
    file = transcript(
        tmp_path / "s1.jsonl",
        line("assistant", [call], message={"id": "m1"}),
        line("user", [failed]),
    )
    (episode,) = await imported(plain_memory, file)
    assert (episode.event_type, episode.importance) == ("tool_error", "high")
    assert episode.summary.startswith("Bash failed: exit 22")
    assert episode.details is not None
    assert len(episode.details["input_preview"]) <= 200
    stored = f"{episode.summary} {episode.details}"
    for secret in ("abcdef0123456789", "hunter22", "sk-ant-"):
        assert secret not in stored


async def test_what_nobody_said_is_passed_over_and_counted(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = transcript(
        tmp_path / "s1.jsonl",
        line("user", "meta", isMeta=True),
        line("user", "side", isSidechain=True),
        line("user", "compact", isCompactSummary=True),
        line("user", "<command-name>/clear</command-name>"),
        line("assistant", text("API Error"), message={"id": "m", "model": "<synthetic>"}),
        {"type": "file-history-snapshot", "snapshot": {}},
        {"type": "invented-next-year", "anything": [1]},
        {"type": ["not", "text"]},
        {"type": "user", "message": "not an object"},
        {"type": "user", "message": {"content": {"odd": 1}}, "uuid": 5},
        {"type": "assistant", "message": {"content": [None, 5, {"type": "text", "text": 7}]},
         "uuid": "u", "sessionId": "s", "timestamp": "2026-05-01T09:00:00Z"},
        line("user", "said"),
    )  # fmt: skip
    report = await import_path(plain_memory, "transcripts", file)
    assert (report.read, report.recorded, report.broken_count) == (1, 1, 0)
    assert sum(report.passed_over.values()) == 11
    assert report.passed_over["line of type invented-next-year"] == 1


async def test_folder_of_projects_without_subagents(plain_memory: Memory, tmp_path: Path) -> None:
    transcript(tmp_path / "-home-ada" / "s1.jsonl", line("user", "main"))
    transcript(tmp_path / "-home-ada" / "s1" / "subagents" / "agent-1.jsonl", line("user", "sub"))
    transcript(tmp_path / "-home-ada" / "agent-2.jsonl", line("user", "old sub"))
    assert [e.summary for e in await imported(plain_memory, tmp_path)] == ["main"]


async def test_growing_transcript_is_imported_once_line_by_line(
    plain_memory: Memory, tmp_path: Path
) -> None:
    first, second = line("user", "one"), json.dumps(line("user", "two"))
    file = transcript(tmp_path / "s1.jsonl", first)
    with file.open("a") as out:
        out.write(second[:40])
    report = await import_path(plain_memory, "transcripts", file)
    assert (report.recorded, report.passed_over) == (1, {"unfinished line": 1})
    with file.open("a") as out:
        out.write(second[40:] + "\n")
    report = await import_path(plain_memory, "transcripts", file)
    assert (report.recorded, report.skipped) == (1, 1)


async def test_broken_line_in_the_middle_is_an_error_unless_skipped(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = transcript(tmp_path / "s1.jsonl", line("user", "one"))
    with file.open("a") as out:
        out.write("{half\n" + json.dumps(line("user", "two")) + "\n")
    with pytest.raises(InvalidInput, match=r"s1\.jsonl, line 2: it is not JSON"):
        await import_path(plain_memory, "transcripts", file)
    assert await plain_memory.count() == 1
    report = await import_path(plain_memory, "transcripts", file, skip_broken=True)
    assert (report.recorded, report.skipped, report.broken_count) == (1, 1, 1)


async def test_what_terminals_print_can_be_stored(plain_memory: Memory, tmp_path: Path) -> None:
    file = transcript(
        tmp_path / "s1.jsonl", line("user", "a\x00b\ud800c"), line("user", "x" * 10**6)
    )
    odd, long = await imported(plain_memory, file)
    assert odd.summary == "ab?c"
    assert (len(long.summary), long.details) == (50_000, {"characters": 10**6})
