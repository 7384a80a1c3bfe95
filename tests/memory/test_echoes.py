"""What was recalled and is written back: kept, marked, and never in the way of what it repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory.echoes import header, normalised, originals_of, quoted
from aegis.memory.models import NewEpisode
from aegis.memory.reasons import explain

if TYPE_CHECKING:
    from aegis.memory import Memory
    from aegis.memory.models import Hit

QUESTION = "why did the backup of the database fail?"
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CAUSES = (
    "the disk was full", "the password had expired", "the network was down",
    "the lock was held by a report", "the table was being rewritten", "the clock ran backwards",
    "the memory was exhausted", "the certificate was revoked", "the bucket had been renamed",
    "the operator pressed stop", "a replica lagged behind", "the tape was missing",
)  # fmt: skip


async def _originals(memory: Memory) -> None:
    await memory.record_many(
        NewEpisode(
            event_type="error",
            summary=f"Backup {n} of the database failed because {cause}.",
            timestamp=NOON + timedelta(days=n),
        )
        for n, cause in enumerate(CAUSES)
    )
    await memory.record("note", "Anna prefers green tea.", timestamp=NOON)


def _ids(hits: list[Hit]) -> list[int]:
    return [hit.episode.id for hit in hits]


@pytest.mark.parametrize("form", ["block", "lines", "summaries", "bulk", "sentence"])
async def test_fifty_rounds_of_writing_back_leave_the_answer_as_it_was(
    plain_memory: Memory, form: str
) -> None:
    memory = plain_memory
    await _originals(memory)
    before = _ids(await memory.recall(QUESTION))
    for _ in range(50):
        block = await memory.context(QUESTION, budget_tokens=400)
        hits = await memory.recall(QUESTION)
        if form == "block":
            await memory.record("note", block.text)
        elif form == "sentence":
            await memory.record("note", f"I remember this: {block.text.splitlines()[0]} Good.")
        elif form == "lines":
            for line in block.text.splitlines():
                await memory.record("note", line)
        elif form == "summaries":
            for hit in hits:
                await memory.record("note", hit.episode.summary.upper() + "!")
        else:
            await memory.record_many(
                NewEpisode(event_type="note", summary=line) for line in block.text.splitlines()
            )
    assert set(_ids(await memory.recall(QUESTION))) == set(before)
    assert set(_ids(await memory.recall(QUESTION, mode="text"))) == set(before)
    assert await memory.count() > len(CAUSES) + 50


async def test_vectors_do_not_bring_echoes_back(memory: Memory) -> None:
    await _originals(memory)
    before = _ids(await memory.recall(QUESTION))
    for _ in range(8):
        for hit in await memory.recall(QUESTION):
            await memory.record("note", f"{header(hit.episode)} {hit.episode.summary}")
    assert set(_ids(await memory.recall(QUESTION))) == set(before)
    nearest = await memory.recall(QUESTION, mode="vector")
    assert not [hit for hit in nearest if originals_of(hit.episode.metadata)]


async def test_echo_is_stored_as_it_was_given_and_marked(plain_memory: Memory) -> None:
    first = await plain_memory.record("error", "The disk was full.")
    text = f"{header(first)} The disk was full."
    echo = await plain_memory.record("note", text, metadata={"mine": 1})
    assert (echo.summary, echo.metadata) == (text, {"mine": 1, "echo_of": [first.id]})
    again = await plain_memory.record("note", "the DISK was full")
    assert again.metadata == {"echo_of": [first.id]}
    third = await plain_memory.record("note", f"{header(echo)} said so")
    assert (third.metadata or {})["echo_of"] == [first.id, echo.id]


async def test_what_only_looks_like_an_echo_is_none(plain_memory: Memory) -> None:
    memory = plain_memory
    first = await memory.record("error", "The disk was full.")
    other = await memory.record("note", "x", namespace="other")
    for text in (
        f"As [e{first.id}] says, we need a larger disk.",
        f"[e{first.id} 2001-01-01 error] The disk was full on another database.",
        f"{header(other)} x",
        "[e99999999999 2026-05-01 error] x",
        "The disk was not full.",
    ):
        assert (await memory.record("note", text)).metadata is None
    event = await memory.record("error", "The disk was full.", source_id="log:2")
    assert event.metadata is None


async def test_marks_of_another_database_are_not_believed(plain_memory: Memory) -> None:
    first = await plain_memory.record("note", "The cat sat.")
    foreign = {"echo_of": [first.id], "mine": 1}
    done = await plain_memory.record_many(
        [NewEpisode(event_type="note", summary="A dog barked.", metadata=foreign)]
    )
    assert (await plain_memory.get(done.ids[0])).metadata == {"mine": 1}
    single = await plain_memory.record("note", "A bird sang.", metadata={"echo_adds": True})
    assert single.metadata is None


async def test_by_time_echoes_are_events_but_a_block_says_nothing_twice(
    plain_memory: Memory,
) -> None:
    first = await plain_memory.record("error", "The disk was full.", timestamp=NOON)
    echo = await plain_memory.record("note", f"{header(first)} The disk was full.")
    assert _ids(await plain_memory.recall(mode="time")) == [echo.id, first.id]
    assert (await plain_memory.context(mode="time")).ids == [first.id]


async def test_echo_is_found_when_its_original_is_gone_or_filtered_out(
    plain_memory: Memory,
) -> None:
    memory = plain_memory
    first = await memory.record("error", "The disk was full.", timestamp=NOON, tags=["a"])
    echo = await memory.record("note", f"{header(first)} The disk was full.", tags=["b"])
    assert _ids(await memory.recall("disk")) == [first.id]
    assert _ids(await memory.recall("disk", tags=["b"])) == [echo.id]
    await memory.delete(first.id)
    assert _ids(await memory.recall("disk")) == [echo.id]


async def test_echo_that_says_more_is_found_where_its_original_is_not(plain_memory: Memory) -> None:
    memory = plain_memory
    await _originals(memory)
    first = (await memory.recall("tea", k=1))[0].episode
    more = "Rotterdam harbour crane inspection passed; Pieter signed the green protocol yesterday."
    echo = await memory.record("note", f"{header(first)} {first.summary} {more}")
    assert (echo.metadata or {})["echo_adds"] is True
    assert _ids(await memory.recall("crane inspection", k=1)) == [echo.id]
    assert _ids(await memory.recall("Anna tea", k=3))[0] == first.id
    assert echo.id not in _ids(await memory.recall("Anna tea", k=3))


@pytest.mark.parametrize(
    "mark", [7, "x", [None, "1", 1.5, -1, 2**40, {"a": 1}], {"a": [1]}, [[1]], None]
)
async def test_marks_that_others_wrote_break_nothing(plain_memory: Memory, mark: Any) -> None:
    made = await plain_memory.record("note", "The disk was full.")
    await plain_memory.update(made.id, metadata={"echo_of": mark})
    assert _ids(await plain_memory.recall("disk")) == [made.id]


async def test_what_is_said_twice_in_bulk_shows_the_first(plain_memory: Memory) -> None:
    texts = ["The disk was full.", "The disk was  FULL", "The disk was empty."]
    ids = (
        await plain_memory.record_many(
            NewEpisode(event_type="note", summary=text) for text in texts
        )
    ).ids
    assert set(_ids(await plain_memory.recall("disk full", k=2))) == {ids[0], ids[2]}


@given(st.text())
def test_quoting_never_fails(text: str) -> None:
    assert all(0 < number < 2**31 for number in quoted(text + "[e7 2026-05-01 note]" + text))
    assert normalised(normalised(text)) == normalised(text)


async def test_every_hit_says_why_in_a_sentence(memory: Memory) -> None:
    await _originals(memory)
    hits = await memory.recall("backup clock", k=20, min_importance="low")
    best = hits[0]
    assert best.why == explain(
        best.parts, timestamp=best.episode.timestamp, importance=best.episode.importance
    )
    assert best.why.startswith("Found by its words (rank 1: ")
    assert "clock" in best.why
    assert "by meaning (rank " in best.why
    assert best.why.endswith("; from 2026-05-06, importance medium.")
    newest = await memory.recall(mode="time", k=1)
    assert newest[0].why == "Taken as one of the newest; from 2026-05-12, importance medium."
