"""`aegis memory audit`, and `aegis memory quarantine …`."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, with_client

__all__ = ["app", "audit"]

app = App("What repairs of the audit have put aside, and how it comes back.")

Place = Annotated[str | None, Option("--namespace", help="This one only; all otherwise.")]
Kind = Annotated[str | None, Option(help="What this check found.")]
#: Who did it, in the history.
_ACTOR = "cli"
#: Why rows stay.
_HELD = {
    "namespaces_skew": "the login may not ANALYZE the table; let its owner do it",
    "facts_expired": "others name them as what followed, or they changed meanwhile",
}
_HELD_MOSTLY = "a decision refers to them, or they changed meanwhile"
_SEVERITY = {"error": "red", "warning": "yellow", "info": "dim"}


def audit(
    repair: Annotated[
        str | None, Option(metavar="KIND", help="Repair what this check finds; dry without --yes.")
    ] = None,
    way: Annotated[
        str | None,
        Option(help="How: decisions_open remind or close, facts_expired follow or archive."),
    ] = None,
    namespace: Place = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check the memory for junk, doubles, contradictions and orphans; status 1 if any are found."""
    import click

    from aegis.cli.exits import UNEXPECTED
    from aegis.cli.progress import counting
    from aegis.cli.render import show_json
    from aegis.errors import InvalidInput
    from aegis.wire.plain import plain

    if repair is not None:
        _repair(repair, way, namespace, yes, as_json)
        return
    if yes or way is not None:
        given = "--yes" if yes else "--way"
        raise InvalidInput(f"{given} goes with --repair KIND; an audit alone changes nothing.")
    with counting("Reading") as seen:
        found = with_client(lambda a: a.memory.audit.run(namespace=namespace, on_progress=seen))
    report = plain(found)
    if as_json:
        show_json(report)
    else:
        _show(report)
    if report["findings"]:
        raise click.exceptions.Exit(UNEXPECTED)


@app.add
def list_(
    kind: Kind = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Place = None,
    as_json: AsJson = False,
) -> None:
    """List what has been put aside, the oldest first."""
    from aegis.wire.cursor import BY_ID

    show_page(
        BY_ID,
        lambda a, after: a.memory.audit.quarantined(
            namespace=namespace, kind=kind, limit=limit, after=after
        ),
        _show_list, limit, cursor, as_json,
    )  # fmt: skip


def _show_list(page: dict[str, Any]) -> None:
    from aegis.cli.render import clip, table, when

    table(
        ["id", "since", "kind", "row", "what"],
        [
            [
                str(entry["id"]),
                when(entry["created_at"]),
                entry["kind"],
                f"{entry['source_table']} {entry['source_row_id']}",
                clip(str(entry["content"].get("summary", entry["reason"])), 200),
            ]
            for entry in page["items"]
        ],
        wide="what",
        empty="Nothing is in quarantine.",
    )


@app.add
def restore(
    entry: Annotated[int | None, Argument(metavar="[ID]")] = None,
    kind: Annotated[str | None, Option(help="All that this check found.")] = None,
    namespace: Place = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put an entry back where it was, or all of a kind."""
    from aegis.cli.render import line, show_json

    if kind is not None:
        confirm(f"Everything that {kind} put aside will be put back.", yes=yes)
    entries = () if entry is None else (entry,)
    restored = with_client(
        lambda a: a.memory.audit.restore(entries, kind=kind, namespace=namespace)
    )
    if as_json:
        show_json({"restored": restored})
    else:
        line(f"Restored {restored:,}.")


def _repair(kind: str, way: str | None, namespace: str | None, yes: bool, as_json: bool) -> None:
    from aegis.cli.progress import counting
    from aegis.cli.render import line, note, show_json, style
    from aegis.wire.plain import plain

    with counting("Repairing") as seen:
        done = plain(
            with_client(
                lambda a: a.memory.audit.repair(
                    kind,
                    way=way,
                    namespace=namespace,
                    dry_run=not yes,
                    actor=_ACTOR,
                    on_progress=seen,
                )
            )
        )
    if as_json:
        show_json(done)
        return
    rows = f"{done['rows']:,} {'row' if done['rows'] == 1 else 'rows'}"
    for example in done["examples"]:
        line(f"  {style(_place(example), 'dim')}  {example['excerpt']}")
    if done["dry_run"]:
        line(f"{rows} would be repaired; nothing was changed. Add --yes to do it.")
        return
    line(f"Repaired {rows}.")
    if done["held"]:
        note(f"{done['held']:,} stay: {_HELD.get(kind, _HELD_MOSTLY)}.")
    if done["undo"] is not None:
        line(f"Undo it with {done['undo']}.")


def _show(report: dict[str, Any]) -> None:
    from aegis.cli.render import clip, line, note, style, width

    where = "all namespaces" if report["namespace"] is None else report["namespace"]
    line(f"{report['episodes']:,} episodes in {where}, {report['looked_at']:,} texts read")
    for finding in report["findings"]:
        count = f"{'about ' if finding['sampled'] else ''}{finding['count']:,}"
        line()
        line(f"{style(finding['id'], 'bold', _SEVERITY[finding['severity']])}  {count}")
        line(f"  {finding['meaning']}")
        for example in finding["examples"][:3]:
            text = clip(f"{_place(example)}  {example['excerpt']}", width() - 4)
            line(style(f"    {text}", "dim"))
        if finding["note"]:
            line(f"  {finding['note']}")
        line(f"  → {finding['repair']}")
    if not report["findings"]:
        line("Nothing was found.")
    for text in report["notes"]:
        note(text)


def _place(example: dict[str, Any]) -> str:
    return example["namespace"] if example["id"] is None else str(example["id"])
