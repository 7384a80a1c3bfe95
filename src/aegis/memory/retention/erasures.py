"""Deleting everything about a subject, and proving it: `memory.erasures`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.retention import erasing, proof, searching, spooled
from aegis.memory.retention.erasure import ErasureCheck, ErasurePlan, Mention
from aegis.memory.retention.subject import Subject
from aegis.memory.store import erasure_jobs as jobs
from aegis.memory.store import erasures as store
from aegis.memory.store import references
from aegis.memory.store.erasure_tables import CLEARED, MEMORY_TABLES, WORDLESS

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.memory.retention.erasure import Erasure

__all__ = ["Erasures"]

MAX_PAGE = 1_000
_SAMPLE = 10
_IDS = 5_000


class Erasures:
    """Erasures of one client; unlike elsewhere, no namespace means all of them."""

    def __init__(self, db: Database, *, namespace: str) -> None:
        self._db = db
        self.namespace = namespace

    async def plan(
        self, subject: str, *, aliases: Sequence[str] = (), namespace: str | None = None
    ) -> ErasurePlan:
        """Return what `run` would delete; changes nothing.

        Raises:
            InvalidInput: a name is too short to tell anything.
        """
        who = Subject([subject, *aliases])
        _check_place(namespace)
        rows: dict[str, int] = {}
        sample: builtins.list[Mention] = []
        held = copies = 0
        for table in MEMORY_TABLES:
            async for found in searching.find_rows(self._db, who, table, namespace=namespace):
                rows[table] = rows.get(table, 0) + len(found)
                sample += [_mention(table, *row) for row in found[: _SAMPLE - len(sample)]]
                if table == "episodic_memory":
                    async with self._db.transaction() as conn:
                        ids = [row[0] for row in found]
                        held += await store.count_held(conn, ids)
                        copies += len(await references.list_copies(conn, ids))
        everywhere = await searching.count_tables(self._db, who, namespace=namespace)
        archived, unreadable = await self._archived(who, namespace)
        return ErasurePlan(
            namespace=namespace,
            rows=rows,
            archived=archived,
            unreadable=unreadable,
            log_lines=await anyio.to_thread.run_sync(
                searching.log_lines, self._db.settings.data_dir, who
            ),
            spool_lines=await anyio.to_thread.run_sync(
                spooled.count_lines, self._db.settings.data_dir, who
            ),
            transcripts=len(await spooled.find_transcripts(self._db, who, namespace=namespace)),
            elsewhere={t: n for t, n in everywhere.items() if t not in _OURS},
            held=held,
            graphiti_copies=copies,
            sample=sample,
        )

    async def run(
        self,
        subject: str,
        *,
        aliases: Sequence[str] = (),
        namespace: str | None = None,
        actor: str | None = None,
        rewrite: bool = True,
        on_stage: Callable[[str], object] | None = None,
    ) -> Erasure:
        """Delete everything about a subject, for ever, and return the proof.

        One that was interrupted is finished by calling it again with the same names. `rewrite`
        writes the touched tables and their indexes anew, which locks each of them meanwhile:
        without it the bytes of what was deleted stay in free space on the disk for a while.

        Raises:
            InvalidInput: a name is too short to tell anything.
            Unavailable: a table is in use; what was done so far is done.
        """
        who = Subject([subject, *aliases])
        _check_place(namespace)
        if actor is not None:
            validate.check_text("actor", actor, most=validate.MAX_KEY)
            if who.is_in(actor):
                raise InvalidInput("actor names the subject, and the proof may not; leave it out.")
        if namespace is not None and who.is_in(namespace):
            raise InvalidInput(
                "namespace names the subject, and the proof may not; leave it out: then all are "
                "searched."
            )
        key = await anyio.to_thread.run_sync(proof.ensure_key, self._db.settings.data_dir)
        return await erasing.erase(
            self._db,
            who,
            key=key,
            namespace=namespace,
            actor=actor,
            rewrite=rewrite,
            on_stage=on_stage,
        )

    async def list(self, *, limit: int = 100) -> builtins.list[Erasure]:
        """Return the proofs, the newest first, without their digests."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        async with self._db.transaction() as conn:
            found = await jobs.list_erasures(conn, limit=limit)
        return [replace(erasure, digests={}) for erasure in found]

    async def get(self, erasure_id: int) -> Erasure:
        """Return one proof (`NotFound`)."""
        validate.check_limit("id", erasure_id, most=2**63 - 1)
        async with self._db.transaction() as conn:
            return await jobs.get_erasure(conn, erasure_id)

    async def verify(
        self, erasure_id: int, *, subject: str | None = None, aliases: Sequence[str] = ()
    ) -> ErasureCheck:
        """Check a proof: its signature, and that nothing of what was deleted is there again.

        With the names, which the proof does not hold, texts are searched for them as well.

        Raises:
            InvalidInput: the names are not those of this erasure, or it is not complete.
            NotFound: there is no such erasure.
        """
        erasure = await self.get(erasure_id)
        if erasure.state != "complete":
            raise InvalidInput(
                f"Erasure {erasure_id} was interrupted ({erasure.stage}); run it again with the "
                "same names."
            )
        key = await anyio.to_thread.run_sync(proof.ensure_key, self._db.settings.data_dir)
        found: dict[str, int] = {}
        if subject is not None:
            who = Subject([subject, *aliases])
            if proof.subject_digest(key, who.names) != erasure.subject:
                raise InvalidInput(
                    f"These are not the names of erasure {erasure_id}; give all of them, as then.",
                    code="erasure_subject",
                )
            found = await searching.count_tables(self._db, who, namespace=erasure.namespace)
            archived, _ = await self._archived(who, erasure.namespace)
            found |= {f"archive {number}": rows for number, rows in archived.items()}
        came_back = await self._came_back(erasure, key)
        signature_ok = erasure.signature == proof.sign(key, erasing.signed_fields(erasure))
        return ErasureCheck(
            id=erasure.id,
            ok=signature_ok and not found and not came_back,
            signature_ok=signature_ok,
            searched=subject is not None,
            found=found,
            came_back=came_back,
        )

    async def _archived(
        self, who: Subject, namespace: str | None
    ) -> tuple[dict[int, int], builtins.list[int]]:
        archived: dict[int, int] = {}
        unreadable: builtins.list[int] = []
        for archive in await searching.archives_in(self._db, namespace):
            matching = await searching.match_archive(archive, who)
            if matching is None:
                unreadable.append(archive.id)
            elif matching:
                archived[archive.id] = len(matching)
        return archived, unreadable

    async def _came_back(self, erasure: Erasure, key: bytes) -> dict[str, int]:
        """Return how many rows there are whose ids the proof knows, by table."""
        came_back: dict[str, int] = {}
        for table in erasing.PROVEN:
            gone = set(erasure.digests.get(table, ()))
            after = 0
            while gone:
                async with self._db.transaction() as conn:
                    ids = await store.list_ids(conn, table, after=after, limit=_IDS)
                again = sum(proof.id_digest(key, table, row_id) in gone for row_id in ids)
                if again:
                    came_back[table] = came_back.get(table, 0) + again
                if len(ids) < _IDS:
                    break
                after = ids[-1]
        return came_back


#: What an erasure deletes, or clears.
_OURS = frozenset({*MEMORY_TABLES, *CLEARED, *WORDLESS})


#: The column that says most of a row, the first that it has.
_TELLING = ("summary", "content", "task_context", "name", "value", "reason", "pending")


def _check_place(namespace: Any) -> None:
    if namespace is not None:
        validate.check_namespace(namespace)


def _mention(table: str, row_id: int | str, document: str) -> Mention:
    try:
        row: Any = json.loads(document)
        text = str(next((row[name] for name in _TELLING if row.get(name)), document))
    except ValueError:
        text = document
    return Mention(table=table, id=row_id, text=" ".join(text.split())[:160])
