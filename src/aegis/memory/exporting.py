"""Exporting a namespace's memory as JSONL or Parquet, which `aegis.memory.importing` reads back.

The first row is a header, then episodes, facts, what is left of deleted facts, decisions, items of
stores, merges of entities and relations written by hand, each by id, all of one moment. Every field
is written, a fact's history and sources included, so that an import elsewhere gives the same
memories under new ids. Vectors are left out unless asked for: they are large, and an embedder makes
them again; those of items are always there, since the texts that they are of are kept nowhere.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.jsonl import FORMAT, VERSION
from aegis.memory.models import DecisionEpisode
from aegis.memory.parquet import put_in_place
from aegis.memory.parquet_rows import ParquetRows
from aegis.memory.store import beside_transfer, decisions, fact_transfer, facts, transfer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from aegis.db import Connection
    from aegis.memory.models import Decision, Episode, Fact
    from aegis.memory.service import Memory

__all__ = ["FORMATS", "ExportReport", "Format", "export", "export_file", "export_rows"]

Format = Literal["jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "parquet")

_PAGE = 500
#: Whether there is a vector says nothing elsewhere; the namespace is the header's.
_LEFT_OUT = frozenset({"embedded", "embedding_model", "namespace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported."""

    path: str
    namespace: str
    #: Episodes, facts, decisions and what stands beside them, together.
    items: int
    size_bytes: int


async def export(
    memory: Memory,
    *,
    namespace: str | None = None,
    vectors: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> AsyncGenerator[str, None]:
    """Yield the lines of an export, without line ends; `on_progress` gets (done, total).

    One connection is held, and the state of one moment is read, until the last line.
    """
    place = memory.namespace if namespace is None else namespace
    validate.check_namespace(place)
    async with aclosing(export_rows(memory, place, vectors, on_progress)) as pages:
        async for page in pages:
            for row in page:
                yield _json(row)


async def export_file(
    memory: Memory,
    path: str | Path,
    *,
    namespace: str | None = None,
    vectors: bool = False,
    format: Format = "jsonl",
    on_progress: Callable[[int, int], object] | None = None,
) -> ExportReport:
    """Write an export to `path`, readable by its owner only; the file is whole or not there.

    Raises:
        InvalidInput: the file cannot be written; one that was there before is untouched.
        ConfigError: Parquet is asked for, and pyarrow is not installed.
    """
    validate.check_choice("format", format, FORMATS)
    target = Path(path)
    place = memory.namespace if namespace is None else namespace
    validate.check_namespace(place)
    count = 0
    try:
        handle, name = await anyio.to_thread.run_sync(_temporary, target)
        try:
            with os.fdopen(handle, "wb") as file:
                writer = JsonLines(file) if format == "jsonl" else ParquetRows(file)
                rows = export_rows(memory, place, vectors, on_progress)
                async with aclosing(rows) as pages:
                    async for page in pages:
                        await anyio.to_thread.run_sync(writer.write, page)
                        count += len(page)
                await anyio.to_thread.run_sync(writer.close)
                size = await anyio.to_thread.run_sync(_settle, file)
            await anyio.to_thread.run_sync(put_in_place, Path(name), target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108
    except OSError as error:
        raise InvalidInput(
            f"{target} cannot be written: {error.strerror or error}.", code="export_path"
        ) from None
    return ExportReport(path=str(target), namespace=place, items=count - 1, size_bytes=size)


class JsonLines:
    """Writes rows as JSONL."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a page of rows."""
        self._file.write("".join(_json(row) + "\n" for row in rows).encode())

    def close(self) -> None:
        """Leave the file to its owner."""


async def export_rows(
    memory: Memory,
    namespace: str,
    vectors: bool,
    on_progress: Callable[[int, int], object] | None,
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Yield pages of rows: the header, episodes, facts, decisions, what deleted facts left."""
    validate.check_namespace(namespace)
    async with memory.database.transaction() as conn:
        await transfer.start_snapshot(conn)
        total = await transfer.count_all(conn, namespace)
        total += await fact_transfer.count_deleted(conn, namespace)
        total += await beside_transfer.count_beside(conn, namespace)
        yield [
            {
                "kind": "header",
                "format": FORMAT,
                "version": VERSION,
                "namespace": namespace,
                "exported_at": datetime.now(UTC),
                "items": total,
            }
        ]
        done = 0
        async for page in _pages(conn, namespace, vectors=vectors):
            yield page
            done += len(page)
            if on_progress is not None:
                on_progress(done, total)


async def _pages(
    conn: Connection, namespace: str, *, vectors: bool
) -> AsyncIterator[list[dict[str, Any]]]:
    after = 0
    while page := await transfer.page_episodes(conn, namespace, after_id=after, limit=_PAGE):
        after = page[-1].id
        stored = await transfer.list_vectors(conn, [e.id for e in page]) if vectors else {}
        yield [_episode_row(episode, stored.get(episode.id)) for episode in page]
    after = 0
    while known := await facts.page_facts(conn, namespace, after_id=after, limit=_PAGE):
        after = known[-1].id
        yield await _fact_rows(conn, known, vectors=vectors)
    after = 0
    while gone := await fact_transfer.page_deleted(conn, namespace, after_id=after, limit=_PAGE):
        after = gone[-1]
        histories = await fact_transfer.list_histories(conn, gone)
        yield [
            {"kind": "deleted_fact", "id": i, "history": _steps(histories[i], vectors=vectors)}
            for i in gone
        ]
    after = 0
    while made := await decisions.page_decisions(conn, namespace, after_id=after, limit=_PAGE):
        after = made[-1].id
        yield [{"kind": "decision", **_fields(decision)} for decision in made]
    async for page in _beside(conn, namespace):
        yield page


async def _beside(conn: Connection, namespace: str) -> AsyncIterator[list[dict[str, Any]]]:
    after = 0
    while items := await beside_transfer.page_items(conn, namespace, after_id=after, limit=_PAGE):
        after = items[-1][0]
        yield [{"kind": "item", **item} for _, item in items]
    after = 0
    while merges := await beside_transfer.page_merges(conn, namespace, after_id=after, limit=_PAGE):
        after = merges[-1].id
        yield [{"kind": "merge", **asdict(merge)} for merge in merges]
    after = 0
    while known := await beside_transfer.page_relations(
        conn, namespace, after_id=after, limit=_PAGE
    ):
        after = known[-1].id
        yield [{"kind": "relation", **asdict(relation)} for relation in known]


def _episode_row(episode: Episode, vector: str | None) -> dict[str, Any]:
    return {"kind": "episode", **_fields(episode), **_vector(vector, episode.embedding_model)}


async def _fact_rows(
    conn: Connection, known: Sequence[Fact], *, vectors: bool
) -> list[dict[str, Any]]:
    ids = [fact.id for fact in known]
    histories = await fact_transfer.list_histories(conn, ids)
    sources = await fact_transfer.list_sources_of(conn, ids)
    stored = await fact_transfer.list_fact_vectors(conn, ids) if vectors else {}
    return [
        {
            "kind": "fact",
            **_fields(fact),
            **_vector(stored.get(fact.id), fact.embedding_model),
            "sources": sources.get(fact.id, []),
            "history": _steps(histories.get(fact.id, []), vectors=vectors),
        }
        for fact in known
    ]


def _vector(vector: str | None, model: str | None) -> dict[str, Any]:
    # A vector whose model is not known could never be compared with another.
    if vector is None or model is None:
        return {}
    # As floats throughout: -0 is a number, and no whole one.
    return {"embedding": json.loads(vector, parse_int=float), "embedding_model": model}


def _steps(history: Sequence[dict[str, Any]], *, vectors: bool) -> list[dict[str, Any]]:
    """Return steps, the rows that they keep without vectors unless these are asked for."""
    if vectors:
        return list(history)
    without = {"embedding": None, "embedding_model": None}
    return [
        step if step["before"] is None else step | {"before": step["before"] | without}
        for step in history
    ]


def _fields(row: Episode | Fact | Decision) -> dict[str, Any]:
    return {f.name: getattr(row, f.name) for f in fields(row) if f.name not in _LEFT_OUT}


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=_other_text)


def _other_text(value: Any) -> Any:
    if isinstance(value, DecisionEpisode):
        return asdict(value)
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat()


def _temporary(target: Path) -> tuple[int, str]:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    return tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)


def _settle(file: BinaryIO) -> int:
    """Bring the file to the disk and return its size."""
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size
