"""A fact that was made of episodes rests on the same ones elsewhere, whatever their numbers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import Memory, NewFact
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database
    from aegis.memory.exporting import Format

pytestmark = pytest.mark.servers("18", "16")

DISK = ("The disk of db1 filled up at night.", "The disk of db1 filled up at night again.",
        "The disk of db1 filled up again at night.")  # fmt: skip


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
async def test_facts_of_consolidation_name_their_episodes_by_the_new_numbers(
    db: Database, tmp_path: Path, format: Format
) -> None:
    here, there = Memory(db, None, namespace="here"), Memory(db, None, namespace="there")
    # Others have the numbers that these have in the file.
    for text in DISK:
        await here.record("error", text)
    await there.record("note", "Somebody else's.")
    await here.consolidation.run()
    (proposal,) = await here.consolidation.proposals()
    accepted = await here.consolidation.accept(proposal.id)
    assert accepted.fact_id is not None
    path = tmp_path / f"all.{format}"
    await export_file(here, path, format=format)
    for _ in range(2):  # the second time adds nothing
        await import_path(there, format, path)
    (fact,) = await there.facts.list()
    assert fact.metadata is not None
    said = [(await there.get(row)).summary for row in fact.metadata["episodes"]]
    assert sorted(said) == sorted(DISK)
    keys = {source.source_id for source in await there.facts.sources(fact.id)}
    assert keys == {f"episode:{row}" for row in fact.metadata["episodes"]}
    assert "orphans_facts" not in {f.id for f in (await there.audit.run()).findings}
    # Where it came from it is as it was.
    await import_path(here, format, path)
    assert (await here.facts.get(accepted.fact_id)).metadata == (
        fact.metadata | {"episodes": proposal.sources}
    )


async def test_numbers_of_episodes_that_the_file_does_not_hold_are_left_out(
    db: Database, tmp_path: Path
) -> None:
    here, there = Memory(db, None, namespace="here"), Memory(db, None, namespace="there")
    kept = await here.record("note", "Anna lives in Rome.")
    for source, named in (("consolidation", [kept.id, 999, "x", -1]), ("mail", [999])):
        metadata: dict[str, Any] = {"episodes": named}
        await here.facts.record_as_given(
            NewFact(concept="Anna", content=source, source=source, metadata=metadata)
        )
    path = tmp_path / "all.jsonl"
    await export_file(here, path)
    await import_path(there, "jsonl", path)
    (episode,) = await there.list()
    facts = {fact.source: fact.metadata for fact in await there.facts.list()}
    assert facts == {"consolidation": {"episodes": [episode.id]}, "mail": {"episodes": [999]}}
