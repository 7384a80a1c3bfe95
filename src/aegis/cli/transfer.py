"""`aegis memory import|export`: whole histories in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Argument, Option
from aegis.cli.options import AsJson, Namespace
from aegis.cli.running import with_client
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.memory.importing import ImportReport

__all__ = ["export", "import_"]

#: Broken items named one by one; `--json` lists all of them.
_NAMED = 5


def import_(
    kind: Annotated[
        str,
        Argument(
            help="jsonl, parquet, git, transcripts, conversations, chatgpt, claude, mem0 or "
            "langgraph."
        ),
    ],
    path: Annotated[Path, Argument(help="A file or folder; `~/.claude/projects`, for instance.")],
    skip_broken: Annotated[
        bool, Option(help="Pass over what cannot be read, instead of stopping there.")
    ] = False,
    embed: Annotated[bool, Option(help="Make vectors now, or leave them to the backfill.")] = True,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Import a history; running it again adds only what is new."""
    from aegis.cli.progress import counting
    from aegis.cli.render import show_json

    with counting(f"Importing {path.name or path}") as seen:

        async def work(client: Aegis) -> ImportReport:
            from aegis.memory.importing import import_path

            return await import_path(
                client.memory,
                kind,  # pyright: ignore[reportArgumentType]
                path,
                namespace=namespace,
                skip_broken=skip_broken,
                embed=embed,
                on_progress=lambda p: seen(p.done, p.total),
            )

        report = with_client(work)
    if as_json:
        show_json(report)
    else:
        _show(report)


def export(
    path: Annotated[Path, Argument(help="File to write; `-` for standard output, JSONL only.")],
    format: Annotated[
        str | None, Option(help="jsonl or parquet; as the file's name ends otherwise.")
    ] = None,
    vectors: Annotated[bool, Option(help="With the vectors, which are large.")] = False,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Export a namespace's memory, for `aegis memory import jsonl|parquet` elsewhere."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    chosen = format or ("parquet" if path.suffix == ".parquet" else "jsonl")
    if str(path) == "-":
        if chosen != "jsonl":
            raise InvalidInput("Parquet cannot be written to standard output; name a file.")
        with_client(lambda a: _to_stdout(a, vectors), namespace=namespace)
        return
    with counting(f"Exporting to {path.name}") as seen:

        async def work(client: Aegis) -> Any:
            from aegis.memory.exporting import export_file

            return await export_file(
                client.memory,
                path,
                vectors=vectors,
                format=chosen,  # pyright: ignore[reportArgumentType]
                on_progress=seen,
            )

        report = with_client(work, namespace=namespace)
    if as_json:
        show_json(report)
    else:
        line(f"Exported {report.items} items to {report.path} ({report.size_bytes:,} bytes).")


async def _to_stdout(client: Aegis, vectors: bool) -> None:
    from contextlib import aclosing

    from aegis.cli.render import line
    from aegis.memory.exporting import export as export_lines

    async with aclosing(export_lines(client.memory, vectors=vectors)) as lines:
        async for text in lines:
            line(text)


def _show(report: ImportReport) -> None:
    from aegis.cli.render import line, note

    broken = f", {report.broken_count} broken" if report.broken_count else ""
    places = ", ".join(report.namespaces[:3]) + (" …" if len(report.namespaces) > 3 else "")
    line(
        f"Read {report.read} items from {report.path}: {report.recorded} recorded, "
        f"{report.skipped} there already{broken}. Namespace: {places or 'none'}."
    )
    for item in report.broken[:_NAMED]:
        note(f"{item.place}: {item.reason}")
    if report.broken_count > _NAMED:
        note(f"… and {report.broken_count - _NAMED} more; --json lists them.")
