"""Importing a history: JSONL, git, agent transcripts, conversations, other programs' exports.

Each kind has a parser, a generator from what is on disk to `items.Event`s without a database; the
run (`run.py`) records what they yield. Invariant: every item has a key of its own in the namespace
(`source_id`), and a batch is one transaction, so an import that was cut off, or that runs twice at
once, ends with each item there once.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.importing.items import BrokenItem, ImportReport, Place, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.memory.importing.items import Source
    from aegis.memory.service import Memory

__all__ = [
    "KINDS",
    "BrokenItem",
    "ImportReport",
    "Kind",
    "Place",
    "Progress",
    "import_path",
]

Kind = Literal[
    "jsonl",
    "parquet",
    "git",
    "transcripts",
    "conversations",
    "chatgpt",
    "claude",
    "mem0",
    "langgraph",
]
KINDS: tuple[Kind, ...] = (
    "jsonl", "parquet", "git", "transcripts", "conversations", "chatgpt", "claude", "mem0",
    "langgraph",
)  # fmt: skip


async def import_path(
    memory: Memory,
    kind: Kind,
    path: str | Path,
    *,
    namespace: str | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    skip_broken: bool = False,
    embed: bool = True,
) -> ImportReport:
    """Record what `path` holds and return what became of it; running it again adds what is new.

    Without `namespace`, conversations get one each and the other kinds go to the memory's own.
    A broken item ends the import with everything before it recorded; with `skip_broken` it is
    counted, listed in the report and passed over. `embed=False` leaves vectors to the backfill.

    Raises:
        InvalidInput: `path` cannot be read as `kind` (code `import_path`), or an item is broken
            (code `import_broken`; the message names file and line).
        ConfigError: git or pyarrow is needed and not installed.
    """
    from aegis.memory.importing.run import run

    validate.check_choice("kind", kind, KINDS)
    if namespace is not None:
        validate.check_namespace(namespace)
    place = Path(path)
    return await run(
        memory,
        lambda: _open(kind, place, namespace),
        kind=kind,
        path=str(place),
        namespace=namespace,
        on_progress=on_progress,
        skip_broken=skip_broken,
        embed=embed,
    )


def _open(kind: Kind, path: Path, namespace: str | None) -> Source:
    if "\x00" in str(path):
        raise InvalidInput("The path contains a NUL character.", code="import_path")
    if kind == "conversations":
        from aegis.memory.importing import conversations

        return conversations.open_source(path, namespace)
    # Each kind has a module of its name, loaded when it is asked for.
    return importlib.import_module(f"{__name__}.{kind}").open_source(path)
