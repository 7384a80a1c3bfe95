"""Reading memories for entities: what is new or changed, batch by batch, until nothing waits.

A batch is three steps: read what waits; find entities, with no transaction open; write what the
texts say and take their notes off the queue, in one transaction. A crash between them leaves the
notes, and reading a text twice writes the same. A text that changed meanwhile is left to the note
of the change. Rules come first, for everything; a language model, where there is one, reads after
them, and its texts wait while it is away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from aegis.errors import AegisError, Unavailable
from aegis.memory.graph.asking import ask
from aegis.memory.graph.extract import extract
from aegis.memory.graph.models import Built
from aegis.memory.graph.reading import Reading, entity_rows, resolve
from aegis.memory.store import graph_entities, graph_queue, graph_relations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.graph.models import FoundBy
    from aegis.memory.llm import LanguageModel
    from aegis.memory.store.graph_queue import Waiting

__all__ = ["build", "link_all"]

_BATCH = 200
#: A question takes seconds: what is found is written before many more are asked.
_MODEL_BATCH = 8
#: Times that a batch is written again after it and somebody else waited for each other.
_ATTEMPTS = 3


async def build(
    db: Database,
    model: LanguageModel | None,
    *,
    limit: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Built:
    """Read everything that waits, at most `limit` texts, and return what came of it.

    Raises:
        Unavailable: the database or the model does not answer; what was read so far stays.
    """
    done = Built(read=0, added=0, removed=0, related=0)
    async with db.transaction() as conn:
        total = await graph_queue.count_waiting(conn, stage="rules")
        if model is not None:
            # All that the rules have read, the model reads after them.
            total += total + await graph_queue.count_waiting(conn, stage="model")
    for stage, reader in (("rules", None), ("model", model)):
        if stage == "model" and reader is None:
            break
        after, left = 0, limit
        while left is None or left > 0:
            size = min(_BATCH if reader is None else _MODEL_BATCH, left or _BATCH)
            async with db.transaction() as conn:
                waiting = await graph_queue.list_waiting(conn, stage=stage, after=after, limit=size)
            if not waiting:
                break
            after = waiting[-1].note
            if reader is None:
                step = await _read_by_rules(db, waiting, pass_on=model is not None)
            else:
                step = await _read_by_model(db, reader, waiting)
            done = Built(
                read=done.read + step.read,
                added=done.added + step.added,
                removed=done.removed + step.removed,
                related=done.related + step.related,
            )
            left = None if left is None else left - len(waiting)
            if on_progress is not None:
                on_progress(done.read, max(total, done.read))
    return done


async def link_all(db: Database) -> int:
    """Make a relation of every related memory that is none yet and return how many."""
    async with db.transaction() as conn:
        return await graph_relations.link_related(conn, None)


async def _read_by_rules(db: Database, waiting: Sequence[Waiting], *, pass_on: bool) -> Built:
    texts = _newest(waiting)
    found = await anyio.to_thread.run_sync(lambda: [extract(text.text) for text in texts])
    readings = [Reading(text=t, found=f) for t, f in zip(texts, found, strict=True)]
    readings, again = await _keep_recurring(db, readings)
    return await _write(db, readings, waiting, found_by="rule", pass_on=pass_on, again=again)


async def _read_by_model(db: Database, model: LanguageModel, waiting: Sequence[Waiting]) -> Built:
    texts = _newest(waiting)
    readings: list[Reading | None] = [None] * len(texts)

    async def read(position: int) -> None:
        found, claims = await ask(model, texts[position].text)
        readings[position] = Reading(text=texts[position], found=found, claims=claims)

    try:
        async with anyio.create_task_group() as group:
            for position in range(len(texts)):
                group.start_soon(read, position)
    except BaseExceptionGroup as several:
        # Callers know single errors: the first one of ours stands for all.
        first = next((e for e in several.exceptions if isinstance(e, AegisError)), None)
        raise (first or several.exceptions[0]) from None
    whole = [reading for reading in readings if reading is not None]
    return await _write(db, whole, waiting, found_by="model", pass_on=False, again=())


def _newest(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Return each text that is there once, however often it is noted."""
    return list({w.node: w for w in waiting if w.namespace is not None}.values())


async def _keep_recurring(
    db: Database, readings: Sequence[Reading]
) -> tuple[list[Reading], Sequence[int]]:
    """Leave out names that stand in one text alone; return what to read again for the others."""
    unsure = [(r, f) for r in readings for f in r.found if not f.sure]
    if not unsure:
        return list(readings), ()
    async with db.transaction() as conn:
        recurring = await graph_queue.recurring(
            conn,
            namespaces=[r.text.namespace or "" for r, _ in unsure],
            keys=[f.key for _, f in unsure],
            names=[f.name for _, f in unsure],
            nodes=[r.text.node for r, _ in unsure],
        )
    known = {(unsure[at][0].text.node, unsure[at][1].key) for at in recurring}
    here = {r.text.node for r in readings}
    again = {e for others in recurring.values() for e in others if e * 4 not in here}
    kept = [
        replace(r, found=[f for f in r.found if f.sure or (r.text.node, f.key) in known])
        for r in readings
    ]
    return kept, sorted(again)


async def _write(
    db: Database,
    readings: Sequence[Reading],
    waiting: Sequence[Waiting],
    *,
    found_by: FoundBy,
    pass_on: bool,
    again: Sequence[int],
) -> Built:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with db.transaction() as conn:
                return await _write_in(
                    conn, readings, waiting, found_by=found_by, pass_on=pass_on, again=again
                )
        except Unavailable as error:
            if error.code != "db_lock_timeout" or attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _write_in(
    conn: Connection,
    readings: Sequence[Reading],
    waiting: Sequence[Waiting],
    *,
    found_by: FoundBy,
    pass_on: bool,
    again: Sequence[int],
) -> Built:
    held = await graph_queue.hold_texts(
        conn, [r.text.node for r in readings], [r.text.text for r in readings]
    )
    readings = [r for r in readings if r.text.node in held]
    rows = entity_rows(readings)
    ids = await graph_entities.put_entities(
        conn,
        namespaces=rows.namespaces,
        kinds=rows.kinds,
        keys=rows.keys,
        names=rows.names,
        seen_from=rows.seen_from,
        seen_to=rows.seen_to,
    )
    mentions, said = resolve(readings, ids)
    # New ones before old ones go: an entity without a relation is deleted.
    added = await graph_relations.put_mentions(conn, mentions, found_by=found_by)
    added += await graph_relations.insert_said(conn, said)
    removed = await graph_relations.delete_stale(
        conn, sorted(held), mentions, said, found_by=found_by
    )
    related = 0
    if found_by == "rule":
        episodes = [node // 4 for node in sorted(held) if node % 4 == 0]
        related = await graph_relations.link_related(conn, episodes)
    if again:
        await graph_queue.note_episodes(conn, again)
    notes = [w.note for w in waiting]
    to_pass = [r.text.note for r in readings] if pass_on else []
    await graph_queue.pass_on(conn, to_pass)
    await graph_queue.remove_notes(conn, sorted(set(notes) - set(to_pass)))
    return Built(read=len(readings), added=added, removed=removed, related=related)
