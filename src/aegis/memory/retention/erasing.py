"""One erasure, step by step; each can be done again, so an interrupted one is simply run again.

Rows go first, in short transactions that also count them in the job's row; then the archives'
files, our log files, and last the pages on the disk, which are written anew, since `VACUUM` leaves
deleted bytes in them. The subject's names are never stored: whoever goes on has to name them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import Conflict
from aegis.memory.graphiti.client import episode_uuid
from aegis.memory.retention import archive_file, proof, searching, spooled
from aegis.memory.retention.archive import TABLES
from aegis.memory.retention.archiving import settle
from aegis.memory.store import archives, policies, references, registry
from aegis.memory.store import erasure_jobs as jobs
from aegis.memory.store import erasures as store
from aegis.memory.store.erasure_tables import CLEARED, MEMORY_TABLES, WORDLESS
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.memory.retention.archive import Archive
    from aegis.memory.retention.archive_file import Written
    from aegis.memory.retention.erasure import Erasure
    from aegis.memory.retention.subject import Subject

__all__ = ["COPIES", "PROVEN", "erase", "signed_fields"]

_BATCH = 500
#: Tables whose deleted rows are proven one by one: their ids are never given again.
PROVEN = ("decision_outcomes", "fact_sources", "semantic_memory", "episodic_memory")
#: How the proof names the copies in Graphiti; its digests are their uuids, which name nobody.
COPIES = "graphiti_copies"
#: Whatever was touched, samples of words and of columns are written anew.
_ALWAYS_REWRITTEN = ("memory_terms", "memory_namespaces", "pg_catalog.pg_statistic")

_REWRITING = "Writing tables anew"


async def erase(
    db: Database,
    subject: Subject,
    *,
    key: bytes,
    namespace: str | None,
    actor: str | None,
    rewrite: bool,
    on_stage: Callable[[str], object] | None,
) -> Erasure:
    """Delete everything about a subject and return the proof.

    Raises:
        ConfigError: `db_needs_session`, a pooler is in the way of writing tables anew.
        Unavailable: a table could not be locked to be written anew; run it again.
    """
    if rewrite:
        db.require_session(_REWRITING, owner=True)

    async def stage(name: str) -> None:
        if on_stage is not None:
            on_stage(name)
        async with db.transaction() as conn:
            await jobs.set_stage(conn, job.id, name)

    async with audited(db) as conn:
        digest = proof.subject_digest(key, subject.names)
        job = await jobs.begin_job(conn, subject=digest, namespace=namespace, actor=actor)
        note(conn, "memory.erase_begin", "erasure", job.id, namespace=_private(namespace))
    await settle(db)
    # First of all, so that nothing comes into the rows from there.
    await stage("spool")
    lines = await anyio.to_thread.run_sync(spooled.blank_lines, db.settings.data_dir, subject)
    left = await spooled.leave_transcripts(db, subject, namespace=namespace)
    async with db.transaction() as conn:
        for name, rows in (("spool_lines", lines), ("claude_sessions.transcript_path", left)):
            if rows:
                await jobs.add_to_job(conn, job.id, name, rows=rows)
    await stage("rows")
    await _erase_rows(db, subject, job, key, namespace)
    await stage("archives")
    await _remove_files(db, job.id)
    for archive in await searching.archives_in(db, namespace):
        await _erase_archive(db, subject, job, key, archive)
    await stage("logs")
    await _erase_logs(db, subject, job)
    await stage("pages")
    rewritten, unwritten = await _rewrite(db, job) if rewrite else ([], ["not asked for"])
    await stage("verification")
    verification = await _verify(db, subject, namespace)
    verification |= {"rewritten": rewritten, "not_rewritten": unwritten}
    return await _finish(db, job.id, key, verification)


def _private(namespace: str | None) -> Private | None:
    return None if namespace is None else Private(namespace)


def signed_fields(erasure: Erasure) -> dict[str, Any]:
    """Return what the signature of a proof is over."""
    return {
        "id": erasure.id,
        "namespace": erasure.namespace,
        "subject": erasure.subject,
        "actor": erasure.actor,
        "counts": erasure.counts,
        "digests": erasure.digests,
        "verification": erasure.verification,
        "started_at": erasure.started_at.isoformat(),
        "finished_at": erasure.finished_at.isoformat() if erasure.finished_at else None,
    }


async def _erase_rows(
    db: Database, subject: Subject, job: Erasure, key: bytes, namespace: str | None
) -> None:
    places: set[str] = set()
    for table in MEMORY_TABLES:
        async for found in searching.find_rows(db, subject, table, namespace=namespace):
            keys = sorted({row_key for row_key, _ in found})
            if table == "episodic_memory":
                async with db.transaction() as conn:
                    echoes = await store.list_echoes(conn, keys, namespace=namespace)
                keys = sorted({*keys, *echoes})
            if table in _PARTLY:
                keys = await _PARTLY[table](db, subject, job, found)
            for start in range(0, len(keys), _BATCH):
                places |= await _delete(db, job, key, table, keys[start : start + _BATCH])
    async with db.transaction() as conn:
        gone = await store.clear_statistics(conn, sorted(places), subject.names, namespace)
        if gone:
            await jobs.add_to_job(conn, job.id, "memory_terms", rows=gone)
        for policy in await policies.list_all_policies(conn, namespace):
            if subject.is_in([policy.namespace, policy.event_type]):
                await policies.remove_policy(
                    conn,
                    namespace=policy.namespace,
                    event_type=policy.event_type,
                    importance=policy.importance,
                )
                await jobs.add_to_job(conn, job.id, "memory_policies", rows=1)
        quoting = [
            model.model
            for model in await registry.list_models(conn)
            if subject.is_in(model.last_error)
        ]
        if quoting:
            blanked = await references.blank_model_errors(conn, quoting)
            await jobs.add_to_job(conn, job.id, "embedding_models.last_error", rows=blanked)


async def _rename(
    db: Database, subject: Subject, job: Erasure, found: Sequence[tuple[int, str]]
) -> list[int]:
    """Return the entities that are the subject; of the others, take the subject's names away."""
    gone: list[int] = []
    kept: dict[int, list[str]] = {}
    for entity_id, document in found:
        row: Any = json.loads(document)
        if subject.is_in([row["namespace"], row["name"], row["key"]]):
            gone.append(entity_id)
        else:
            kept[entity_id] = [alias for alias in row["aliases"] if not subject.is_in(alias)]
    if kept:
        async with db.transaction() as conn:
            changed = await references.blank_aliases(conn, kept)
            await jobs.add_to_job(conn, job.id, "graph_entities.aliases", rows=changed)
    return sorted(gone)


async def _unsay(
    db: Database, subject: Subject, job: Erasure, found: Sequence[tuple[Any, str]]
) -> list[Any]:
    """Return the sessions whose very name is the subject's; the others keep their numbers alone."""
    rows: list[tuple[Any, Any]] = [(row_id, json.loads(document)) for row_id, document in found]
    gone = [i for i, row in rows if subject.is_in([row["namespace"], row["session_id"]])]
    kept = [i for i, _ in rows if i not in gone]
    if kept:
        async with db.transaction() as conn:
            blanked = await references.blank_sessions(conn, kept)
            await jobs.add_to_job(conn, job.id, "claude_sessions.said", rows=blanked)
    return sorted(gone)


#: What is deleted only where its very name is the subject's: the function says which, and takes
#: what else speaks of the subject away.
_PARTLY = {"graph_entities": _rename, "claude_sessions": _unsay}


async def _delete(
    db: Database, job: Erasure, key: bytes, table: str, keys: Sequence[Any]
) -> set[str]:
    async with db.transaction() as conn:
        if table == "memory_holds":
            blanked = await references.blank_holds(conn, keys, namespace=job.namespace)
            await jobs.add_to_job(conn, job.id, "memory_holds.reason", rows=blanked)
            return set()
        if table == "memory_quarantine":
            for whose, row_id in await references.list_put_aside(conn, keys):
                digest = proof.id_digest(key, whose, row_id)
                await jobs.add_to_job(conn, job.id, whose, rows=0, digests=[digest])
        if table == "episodic_memory":
            await _note_copies(conn, job, await references.list_copies(conn, keys))
        # What a text is found by is the item's, which goes as a whole.
        table = "store_items" if table == "store_vectors" else table
        cleared, places = await references.clear_references(conn, table, keys)
        for name, count in cleared.items():
            await jobs.add_to_job(conn, job.id, name, rows=count)
        gone = await store.delete_rows(conn, table, keys)
        digests = [proof.id_digest(key, table, row_id) for row_id in gone]
        await jobs.add_to_job(
            conn, job.id, table, rows=len(gone), digests=digests if table in PROVEN else ()
        )
    return places


async def _note_copies(conn: Connection, job: Erasure, copied: Sequence[tuple[str, int]]) -> None:
    """Write down under which uuids Graphiti has copies, which only its owner can delete."""
    if copied:
        uuids = [episode_uuid(place, row_id) for place, row_id in copied]
        await jobs.add_to_job(conn, job.id, COPIES, rows=len(uuids), digests=uuids)


async def _erase_archive(
    db: Database, subject: Subject, job: Erasure, key: bytes, archive: Archive
) -> None:
    """Give an archive a file without the subject's rows, and remove the one that has them."""
    matching = await searching.match_archive(archive, subject)
    if not matching:
        return
    old = Path(archive.path)
    new = old.with_name(f"{old.stem.split('-e')[0]}-e{job.id}.parquet")
    kept, written = await anyio.to_thread.run_sync(_without, old, new, matching, subject)
    async with db.transaction() as conn:
        locked = await _lock(conn, archive)
        if locked.path != archive.path:
            raise Conflict(f"Archive {archive.id} was changed meanwhile. Run it again.")
        if written is None:
            await archives.drop_archive(conn, archive.id)
        else:
            await archives.replace_file(
                conn,
                archive.id,
                path=str(new),
                ids=kept,
                size_bytes=written.size_bytes,
                sha256=written.sha256,
                digest=written.digest,
            )
        files = (await jobs.get_erasure(conn, job.id)).files
        await jobs.set_files(conn, job.id, [*files, str(old)])
        table = TABLES[archive.kind]
        await jobs.add_to_job(conn, job.id, "archives", rows=len(matching))
        digests = [proof.id_digest(key, table, row_id) for row_id in sorted(matching.rows)]
        await _note_copies(conn, job, [(archive.namespace, i) for i in sorted(matching.copied)])
        await jobs.add_to_job(conn, job.id, table, rows=0, digests=digests)
    await _remove_files(db, job.id)


async def _lock(conn: Connection, archive: Archive) -> Archive:
    """Return the archive as it is now, locked (`Conflict` if it is gone)."""
    locked = await archives.lock_archive(conn, archive.id)
    if locked is None:
        raise Conflict(f"Archive {archive.id} was removed meanwhile. Run it again.")
    return locked


def _without(
    old: Path, new: Path, matching: searching.ArchiveMatch, subject: Subject
) -> tuple[list[int], Written | None]:
    """Write `new`, `old` without some of its rows and names; nothing where no row is left."""
    about = archive_file.contents(old)
    names = [column.name for column in about.columns]
    kept: list[int] = []
    new.with_name(f".{new.name}.tmp").unlink(missing_ok=True)
    writer = archive_file.ArchiveWriter(
        new, about.columns, table=about.table, namespace=about.namespace
    )
    try:
        chunk: list[dict[str, Any]] = []
        for row in archive_file.read(old):
            if row["id"] not in matching.rows:
                side = searching.without_names(row[archive_file.SIDE], subject)
                chunk.append(row | {archive_file.SIDE: side})
                kept.append(row["id"])
            if len(chunk) == archive_file.ROWS:
                _add(writer, names, chunk)
                chunk = []
        _add(writer, names, chunk)
        if kept:
            return kept, writer.finish()
        writer.abandon()
    except BaseException:
        writer.abandon()
        raise
    return kept, None


def _add(
    writer: archive_file.ArchiveWriter, names: Sequence[str], chunk: Sequence[dict[str, Any]]
) -> None:
    side = {row["id"]: row[archive_file.SIDE] for row in chunk if row[archive_file.SIDE]}
    writer.add([[row[name] for name in names] for row in chunk], side)


async def _remove_files(db: Database, job: int) -> None:
    """Remove the files that were replaced: the note of them goes after they are gone."""
    async with db.transaction() as conn:
        files = (await jobs.get_erasure(conn, job)).files
    for file in files:
        await anyio.to_thread.run_sync(lambda path: path.unlink(missing_ok=True), Path(file))
    if files:
        async with db.transaction() as conn:
            await jobs.set_files(conn, job, [])


async def _erase_logs(db: Database, subject: Subject, job: Erasure) -> None:
    lines = await anyio.to_thread.run_sync(_black_out, db.settings.data_dir, subject)
    if lines:
        async with db.transaction() as conn:
            await jobs.add_to_job(conn, job.id, "log_lines", rows=lines)


def _black_out(data_dir: Path, subject: Subject) -> int:
    """Write x over lines where they stand: whoever appends to the file goes on."""
    lines = 0
    for path in searching.log_paths(data_dir):
        found = searching.log_matches(path, subject)
        if not found:
            continue
        with path.open("r+b") as file:
            for at, length in found:
                file.seek(at)
                file.write(b"x" * length)
        lines += len(found)
    return lines


async def _rewrite(db: Database, job: Erasure) -> tuple[list[str], list[str]]:
    """Write the touched tables anew; return those that were, and those that could not be."""
    async with db.transaction() as conn:
        counts = (await jobs.get_erasure(conn, job.id)).counts
    touched = {name.split(".")[0] for name in counts} & {*MEMORY_TABLES, *CLEARED, *WORDLESS}
    if not touched:
        return [], []
    async with db.transaction() as conn:
        touched = await references.list_dependents(conn, sorted(touched))
    touched -= {*_ALWAYS_REWRITTEN}
    done: list[str] = []
    left: list[str] = []
    async with db.owner(_REWRITING) as conn:
        for table in (*sorted(touched), *_ALWAYS_REWRITTEN):
            allowed = await store.rewrite_table(conn, table)
            (done if allowed else left).append(table)
        if not await store.checkpoint(conn):
            left.append("checkpoint")
    return done, left


async def _verify(db: Database, subject: Subject, namespace: str | None) -> dict[str, Any]:
    """Search everything again and return what was found, and what is out of reach."""
    found = await searching.count_tables(db, subject, namespace=namespace)
    unreadable: list[int] = []
    in_archives = 0
    for archive in await searching.archives_in(db, namespace):
        matching = await searching.match_archive(archive, subject)
        if matching is None:
            unreadable.append(archive.id)
        else:
            in_archives += len(matching)
    lines = await anyio.to_thread.run_sync(searching.log_lines, db.settings.data_dir, subject)
    waiting = await anyio.to_thread.run_sync(spooled.count_lines, db.settings.data_dir, subject)
    async with db.transaction() as conn:
        wal = await store.read_wal(conn)
    return {
        "found": found,
        "found_in_archives": in_archives,
        "found_in_logs": lines,
        "found_in_spool": waiting,
        "unreadable_archives": unreadable,
        "wal": wal,
    }


async def _finish(db: Database, job: int, key: bytes, verification: dict[str, Any]) -> Erasure:
    async with audited(db) as conn:
        done = await jobs.finish_job(conn, job, verification=verification)
        if done is not None:
            await jobs.set_signature(conn, job, proof.sign(key, signed_fields(done)))
            note(conn, "memory.erase", "erasure", job, rows=done.counts)
        return await jobs.get_erasure(conn, job)
