"""An erasure reaches what hooks spooled, and what transcripts would bring back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aegis.errors import Unavailable
from aegis.memory.retention import spooled
from aegis.sessions import spool
from tests.sessions.conftest import Transcript, record
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory
    from aegis.sessions.service import Sessions

#: In the spool its letters are escaped, as in transcripts.
NAME = "Žofia Müller"


def waiting(sessions: Sessions) -> str:
    """Return all that stands in the spool's files, as it would be read."""
    files = sorted(sessions.spool.glob("*.jsonl"))
    return "\n".join(
        json.dumps(json.loads(line), ensure_ascii=False)
        for file in files
        for line in file.read_text().splitlines()
        if line.strip()
    )


async def test_what_waits_in_the_spool_never_comes_into_the_database(
    sessions: Sessions, plain_memory: Memory, db: Database
) -> None:
    spool.append(sessions.spool, record("UserPromptSubmit", prompt=f"Write to {NAME.upper()}."))
    spool.append(sessions.spool, record("UserPromptSubmit", prompt="Buy bread.", minute=1))
    # A drain that was cut off; a line that was refused; one that a crash tore.
    (sessions.spool / "batch-1.jsonl").write_bytes(
        json.dumps(record("UserPromptSubmit", prompt=f"Call {NAME}.", minute=2)).encode() + b"\n"
    )
    spool.reject(sessions.spool, json.dumps({"odd": NAME}).encode(), "It is odd.")
    torn = json.dumps({"prompt": f"Ask {NAME} for"}).encode()[:-2]
    (sessions.spool / "late-1.jsonl").write_bytes(torn)

    plan = await plain_memory.erasures.plan(NAME)
    assert (plan.spool_lines, plan.transcripts) == (4, 0)
    proof = await plain_memory.erasures.run(NAME)
    assert proof.counts["spool_lines"] == 4
    assert proof.verification is not None
    assert proof.verification["found_in_spool"] == 0
    assert "Müller" not in waiting(sessions)

    await sessions.sweep(idle_minutes=500_000)
    assert spool.is_empty(sessions.spool)
    assert await rows(db, "SELECT text FROM session_events") == [("Buy bread.",)]
    assert (await plain_memory.erasures.verify(proof.id, subject=NAME)).ok


async def test_a_spool_that_somebody_drains_is_waited_for_and_then_told_of(
    sessions: Sessions, plain_memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spool._DRAINING == spooled.DRAINING  # pyright: ignore[reportPrivateUsage]
    spool.append(sessions.spool, record("UserPromptSubmit", prompt=f"Write to {NAME}."))
    monkeypatch.setattr(spooled, "_PATIENCE_S", 0.1)
    with spool.drain_lock(sessions.spool) as mine:
        assert mine
        with pytest.raises(Unavailable, match="being drained"):
            await plain_memory.erasures.run(NAME)
    # The same names go on where it was interrupted.
    assert (await plain_memory.erasures.run(NAME)).state == "complete"
    assert "Müller" not in waiting(sessions)


async def test_a_transcript_that_speaks_of_the_subject_is_read_on_but_never_again(
    sessions: Sessions, plain_memory: Memory, db: Database, transcript: Transcript
) -> None:
    transcript.add("user", f"Remember that {NAME} likes tea.")
    transcript.answer("I will.", "msg_1")
    end = record("SessionStart", transcript.session_id, transcript_path=str(transcript.path))
    spool.append(sessions.spool, end)
    await sessions.drain()
    await rows(db, "UPDATE claude_sessions SET transcript_due = true")

    assert (await plain_memory.erasures.plan(NAME)).transcripts == 1
    proof = await plain_memory.erasures.run(NAME)
    assert proof.counts["claude_sessions.transcript_path"] == 1
    assert NAME in transcript.path.read_text() or "\\u" in transcript.path.read_text()
    await sessions.sweep(idle_minutes=500_000)
    assert (await plain_memory.erasures.plan(NAME)).rows == {}

    transcript.add("user", "Remember that Bob likes coffee.")
    transcript.answer("Noted.", "msg_2")
    spool.append(
        sessions.spool,
        record("Stop", transcript.session_id, transcript_path=str(transcript.path), minute=3),
    )
    await sessions.sweep(idle_minutes=500_000)
    said = [text for (text,) in await rows(db, "SELECT summary FROM episodic_memory")]
    assert any("Bob likes coffee" in text for text in said)
    assert (await plain_memory.erasures.plan(NAME)).rows == {}


async def test_a_path_that_is_no_transcript_is_not_read_for_an_erasure(
    sessions: Sessions, plain_memory: Memory, db: Database, transcript: Transcript
) -> None:
    notes = transcript.path.with_suffix(".txt")
    notes.write_text(NAME)
    for number, path in enumerate([str(notes), "/dev/zero", "relative.jsonl", "/nowhere/x.jsonl"]):
        spool.append(sessions.spool, record("SessionStart", f"s{number}", transcript_path=path))
    await sessions.drain()
    assert (await plain_memory.erasures.plan(NAME)).transcripts == 0
