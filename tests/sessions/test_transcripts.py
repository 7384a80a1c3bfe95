"""Transcripts: each message paid once, each memory recorded once, however the file is read."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.memory.importing import import_path
from aegis.sessions import spool
from aegis.sessions.transcript import read_parts
from aegis.sessions.usage import merge, message_of
from tests.sessions.conftest import Transcript, record

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory
    from aegis.sessions.service import Sessions


async def heard(sessions: Sessions, event: str, transcript: Transcript, **more: Any) -> None:
    spool.append(
        sessions.spool,
        record(event, transcript.session_id, transcript_path=str(transcript.path), **more),
    )
    await sessions.sweep(idle_minutes=500_000)


async def test_message_over_several_lines_is_paid_once_at_its_price(
    sessions: Sessions, transcript: Transcript
) -> None:
    transcript.add("user", "Why?")
    for out in (1, 1, 500):
        transcript.answer(f"part {out}", "msg_1", out=out)
    transcript.answer("more", "msg_2", out=10)
    transcript.add("assistant", [], message={"model": "<synthetic>", "id": "x",
                                             "usage": {"output_tokens": 9_999}})  # fmt: skip
    transcript.add("assistant", [], isApiErrorMessage=True,
                   message={"model": "m", "id": "y",
                            "usage": {"output_tokens": 9_999}})  # fmt: skip
    await heard(sessions, "Stop", transcript)
    found = (await sessions.get("s1")).session
    assert (found.input_tokens, found.output_tokens) == (200, 510)
    assert (found.cache_write_tokens, found.cache_read_tokens) == (80, 2_000)
    assert found.cost_usd == pytest.approx((200 * 3 + 510 * 15 + 80 * 3.75 + 2_000 * 0.3) / 1e6)
    assert found.unpriced_messages == 0
    assert found.model == "claude-sonnet-4-5"


async def test_model_without_a_price_is_counted_and_said(
    sessions: Sessions, transcript: Transcript
) -> None:
    transcript.answer("hi", "msg_1", model="made-up-9")
    await heard(sessions, "Stop", transcript)
    found = (await sessions.get("s1")).session
    assert (found.cost_usd, found.unpriced_messages, found.output_tokens) == (None, 1, 10)


async def test_request_or_line_stands_in_for_a_message_without_an_id(
    sessions: Sessions, transcript: Transcript
) -> None:
    for _ in range(2):
        transcript.answer("a", "", requestId="unused")
    said = {"model": "claude-sonnet-4-5", "usage": {"output_tokens": 7}}
    for request in ("req_1", "req_1", "req_2"):
        transcript.add("assistant", [], message=said, requestId=request)
    await heard(sessions, "Stop", transcript)
    # Two lines of their own, and two requests.
    assert (await sessions.get("s1")).session.output_tokens == 2 * 10 + 2 * 7


async def test_fork_that_begins_with_a_copy_does_not_pay_again(
    sessions: Sessions, transcript: Transcript, tmp_path: Path
) -> None:
    transcript.answer("old", "msg_1", out=100)
    await heard(sessions, "Stop", transcript)
    fork = Transcript(tmp_path / "s2.jsonl", "s2")
    fork.path.write_text(transcript.path.read_text().replace('"s1"', '"s2"'))
    next(fork.seconds)
    fork.answer("new", "msg_2", out=7)
    await heard(sessions, "Stop", fork)
    assert (await sessions.get("s1")).session.output_tokens == 100
    assert (await sessions.get("s2")).session.output_tokens == 7


async def test_growing_transcript_is_remembered_once_and_as_its_import_would(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    transcript.add("user", "Why does it fail?")
    transcript.answer("A pin is", "msg_1")
    await heard(sessions, "Stop", transcript)
    transcript.answer("missing.", "msg_1", stop_reason="end_turn")
    await heard(sessions, "Stop", transcript)
    transcript.add("user", "Fix it.")
    await heard(sessions, "Stop", transcript)
    said = [e.summary for e in (await plain_memory.list())[::-1]]
    assert said == ["Why does it fail?", "A pin is\n\nmissing.", "Fix it."]
    report = await import_path(plain_memory, "transcripts", transcript.path)
    assert (report.recorded, report.skipped) == (0, 3)


async def test_what_the_agent_recorded_itself_is_not_recorded_again(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    await heard(sessions, "SessionStart", transcript)
    await plain_memory.record("learning", "The pin of numpy was missing in the lock file.")
    transcript.answer("The pin of numpy was missing in the lock file!", "msg_1",
                      stop_reason="end_turn")  # fmt: skip
    transcript.answer("And the tests pass.", "msg_2", stop_reason="end_turn")
    await heard(sessions, "Stop", transcript)
    said = [e.summary for e in await plain_memory.list(session_id="s1")]
    assert said == ["And the tests pass."]


async def test_session_whose_end_nobody_told_is_read_and_closed(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    await heard(sessions, "UserPromptSubmit", transcript, prompt="Add a cart")
    await heard(sessions, "PostToolUse", transcript, tool_name="Edit",
                tool_input={"file_path": "/srv/shop/cart.py"})  # fmt: skip
    await heard(sessions, "Stop", transcript, last_assistant_message="The cart is there.")
    transcript.add("user", "Add a cart")
    transcript.answer("The cart is there.", "msg_1", out=3)
    swept = await sessions.sweep(idle_minutes=60)
    assert swept.closed == ["s1"]
    found = (await sessions.get("s1")).session
    assert (found.status, found.output_tokens) == ("completed", 3)
    kinds = {e.event_type: e.summary for e in await plain_memory.list(session_id="s1")}
    assert kinds["user_prompt"] == "Add a cart"
    assert kinds["assistant_message"] == "The cart is there."
    assert "completed: Add a cart" in kinds["session"]
    assert "/srv/shop/cart.py" in kinds["session"]
    assert await plain_memory.count() == 3


async def test_session_without_a_transcript_is_remembered_by_what_hooks_heard(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    await heard(sessions, "UserPromptSubmit", transcript, prompt="Add a cart")
    await heard(sessions, "PostToolUseFailure", transcript, tool_name="Bash", error="exit 2")
    await heard(sessions, "Stop", transcript, last_assistant_message="It does not work.")
    for _ in range(2):
        await heard(sessions, "SessionEnd", transcript, reason="other")
    said = sorted((e.event_type, e.summary) for e in await plain_memory.list(session_id="s1"))
    assert [kind for kind, _ in said] == [
        "assistant_message", "session", "tool_error", "user_prompt",
    ]  # fmt: skip
    assert said[2][1] == "Bash failed: exit 2"


async def test_transcript_that_was_cut_or_is_torn_is_read_as_far_as_it_goes(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    transcript.add("user", "one")
    with transcript.path.open("a") as file:
        file.write('{"broken\n' + '{"a":' * 50_000 + "\n" + '\x00\n"text"\n')
    transcript.add("user", "two")
    with transcript.path.open("a") as file:
        file.write('{"type": "user", "mess')
    await heard(sessions, "Stop", transcript)
    assert [e.summary for e in await plain_memory.list()] == ["two", "one"]
    # Written anew, shorter: nothing twice, and what is new is read.
    transcript.path.write_text("")
    transcript.add("user", "three")
    await heard(sessions, "Stop", transcript)
    assert [e.summary for e in await plain_memory.list()] == ["three", "two", "one"]


async def test_line_that_memory_refuses_does_not_hold_up_the_others(
    sessions: Sessions, plain_memory: Memory, transcript: Transcript
) -> None:
    transcript.add("user", "one")
    transcript.add("user", "refused", uuid="x" * 2_000)
    transcript.add("user", "two")
    await heard(sessions, "Stop", transcript)
    assert [e.summary for e in await plain_memory.list()] == ["two", "one"]
    assert (await sessions.get("s1")).session.transcript_path == str(transcript.path)


@pytest.mark.parametrize("path", ["relative.jsonl", "/dev/zero", "/etc/passwd", "/nope/s1.jsonl"])
async def test_path_that_is_no_transcript_is_not_read(
    sessions: Sessions, plain_memory: Memory, path: str
) -> None:
    spool.append(sessions.spool, record("Stop", transcript_path=path))
    await sessions.sweep(idle_minutes=60)
    assert await plain_memory.count() == 0
    assert (await sessions.get("s1")).session.status == "completed"


def test_huge_transcript_is_read_in_bounded_memory(transcript: Transcript) -> None:
    filler = "x" * 20_000
    with transcript.path.open("w") as file:
        for n in range(3_000):
            line = {"type": "user", "uuid": str(n), "sessionId": "s1", "toolUseResult": filler,
                    "timestamp": "2026-05-01T09:00:00Z",
                    "message": {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "t",
                         "content": filler}]}}  # fmt: skip
            file.write(json.dumps(line) + "\n")
        file.write("y" * (40 * 2**20) + "\n")
    transcript.add("user", "the end")
    tracemalloc.start()
    try:
        last = None
        for part in read_parts(transcript.path, start=0, namespace="default", final=True):
            last = part
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert transcript.path.stat().st_size > 150 * 2**20
    assert last is not None
    assert [e.summary for e in last.episodes] == ["the end"]
    assert peak < 80 * 2**20


async def test_import_of_old_transcripts_is_a_session_each_and_adds_nothing_twice(
    sessions: Sessions, transcript: Transcript, tmp_path: Path
) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "/b.py"}}
    transcript.add("user", "Write b")
    transcript.add("assistant", [call], message={"id": "m1", "model": "claude-opus-4-5",
                                                 "usage": {"output_tokens": 5}})  # fmt: skip
    failed = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"}
    transcript.add("user", [failed])
    transcript.answer("It failed.", "m2", stop_reason="end_turn")
    agents = tmp_path / "s1" / "subagents"
    agents.mkdir(parents=True)
    agent = Transcript(agents / "agent-a7.jsonl")
    agent.answer("found", "m3", out=4)
    report = await sessions.import_path(tmp_path)
    assert (report.files, report.sessions, report.messages) == (2, 2, 3)
    detail = await sessions.get("s1")
    found = detail.session
    assert (found.status, found.source, found.prompts) == ("completed", "transcript", 1)
    assert (found.tool_calls, found.tool_failures, found.output_tokens) == (1, 1, 15)
    assert [f.path for f in detail.files] == ["/b.py"]
    assert [(a.session_id, a.output_tokens) for a in detail.agents] == [("s1:a7", 4)]
    again = await sessions.import_path(tmp_path)
    assert (again.events, again.messages, again.remembered) == (0, 0, 0)
    assert (await sessions.get("s1")).session == found
    with pytest.raises(InvalidInput):
        await sessions.import_path(tmp_path / "nothing")


async def test_import_beside_hooks_counts_each_call_once(
    sessions: Sessions, transcript: Transcript
) -> None:
    await heard(sessions, "PostToolUse", transcript, tool_name="Edit", tool_use_id="t1")
    call = {"type": "tool_use", "id": "t1", "name": "Edit", "input": {}}
    transcript.add("assistant", [call], message={"id": "m1", "model": "claude-opus-4-5"})
    transcript.add("user", [{"type": "tool_result", "tool_use_id": "t1"}])
    await sessions.import_path(transcript.path)
    assert (await sessions.get("s1")).session.tool_calls == 1


_tokens = st.integers(-5, 10**12) | st.none() | st.text() | st.booleans() | st.floats()


@run_with(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(
    ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]
), _tokens), min_size=1, max_size=5))  # fmt: skip
def test_usage_of_lines_in_any_order_is_the_most_that_a_line_said(
    usages: list[dict[str, Any]],
) -> None:
    lines = [
        message_of({"type": "assistant", "timestamp": "2026-05-01T09:00:00Z",
                    "message": {"id": "m", "model": "x", "usage": usage}})
        for usage in usages
    ]  # fmt: skip
    forward = backward = None
    for line in lines:
        assert line is not None
        forward = merge(forward, line)
    for line in reversed(lines):
        assert line is not None
        backward = merge(backward, line)
    assert forward == backward
    assert forward is not None
    assert forward.output_tokens == max(line.output_tokens for line in lines if line)
    assert 0 <= forward.output_tokens <= 10**9
