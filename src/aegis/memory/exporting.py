"""Exporting a namespace's memory as JSONL, which `aegis.memory.importing` reads back.

The first line is a header, then episodes, facts and decisions, each by id, all of one moment.
Every field is written, so that an import elsewhere gives the same memories under new ids. Vectors
are left out unless asked for: they are large, and an embedder makes them again.
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
from typing import TYPE_CHECKING, Any, TextIO

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.jsonl import FORMAT, VERSION
from aegis.memory.models import DecisionEpisode
from aegis.memory.store import decisions, facts, transfer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from aegis.db import Connection
    from aegis.memory.models import Decision, Episode, Fact
    from aegis.memory.service import Memory

__all__ = ["ExportReport", "export", "export_file"]

_PAGE = 500
#: Whether there is a vector says nothing elsewhere, nor does the id of another fact; the namespace
#: is the header's.
_LEFT_OUT = frozenset({"embedded", "embedding_model", "namespace", "superseded_by"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported."""

    path: str
    namespace: str
    #: Episodes, facts and decisions, together.
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
    async with memory.database.transaction() as conn:
        await transfer.start_snapshot(conn)
        total = await transfer.count_all(conn, place)
        yield _json(
            {
                "kind": "header",
                "format": FORMAT,
                "version": VERSION,
                "namespace": place,
                "exported_at": datetime.now(UTC),
                "items": total,
            }
        )
        done = 0
        async for page in _pages(conn, place, vectors=vectors):
            for line in page:
                yield line
            done += len(page)
            if on_progress is not None:
                on_progress(done, total)


async def export_file(
    memory: Memory,
    path: str | Path,
    *,
    namespace: str | None = None,
    vectors: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
) -> ExportReport:
    """Write an export to `path`, readable by its owner only; the file is whole or not there.

    Raises:
        InvalidInput: the file cannot be written; one that was there before is untouched.
    """
    target = Path(path)
    place = memory.namespace if namespace is None else namespace
    count = 0
    try:
        handle, name = await anyio.to_thread.run_sync(_temporary, target)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                async with aclosing(
                    export(memory, namespace=place, vectors=vectors, on_progress=on_progress)
                ) as lines:
                    async for line in lines:
                        file.write(line + "\n")
                        count += 1
                size = await anyio.to_thread.run_sync(_settle, file)
            await anyio.to_thread.run_sync(_replace, name, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108
    except OSError as error:
        raise InvalidInput(
            f"{target} cannot be written: {error.strerror or error}.", code="export_path"
        ) from None
    return ExportReport(path=str(target), namespace=place, items=count - 1, size_bytes=size)


async def _pages(conn: Connection, namespace: str, *, vectors: bool) -> AsyncIterator[list[str]]:
    after = 0
    while page := await transfer.page_episodes(conn, namespace, after_id=after, limit=_PAGE):
        after = page[-1].id
        stored = await transfer.list_vectors(conn, [e.id for e in page]) if vectors else {}
        yield [_episode_line(episode, stored.get(episode.id)) for episode in page]
    after = 0
    while known := await facts.page_facts(conn, namespace, after_id=after, limit=_PAGE):
        after = known[-1].id
        yield [_json({"kind": "fact", **_fields(fact)}) for fact in known]
    after = 0
    while made := await decisions.page_decisions(conn, namespace, after_id=after, limit=_PAGE):
        after = made[-1].id
        yield [_json({"kind": "decision", **_fields(decision)}) for decision in made]


def _episode_line(episode: Episode, vector: str | None) -> str:
    line = {"kind": "episode", **_fields(episode)}
    # A vector whose model is not known could never be compared with another.
    if vector is not None and episode.embedding_model is not None:
        line |= {"embedding": json.loads(vector), "embedding_model": episode.embedding_model}
    return _json(line)


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


def _settle(file: TextIO) -> int:
    """Bring the file to the disk and return its size."""
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size


def _replace(name: str, target: Path) -> None:
    os.replace(name, target)  # noqa: PTH105
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, outlives a power cut
    finally:
        os.close(folder)
