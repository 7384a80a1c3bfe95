"""Backups as people see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis.cli.render import line, note, pairs, show_json, style, table, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.ops.backup.models import Drill, Entry
    from aegis.ops.backup.pruning import Pruned
    from aegis.ops.health.models import Result
    from aegis.ops.restore.models import Plan, Restored

__all__ = [
    "plan_text",
    "show_checks",
    "show_drills",
    "show_entries",
    "show_entry",
    "show_plan",
    "show_pruned",
    "show_restored",
]

_COLOURS = {
    "verified": "green", "failed": "red", "not_verified": "yellow",
    "ok": "green", "critical": "red", "warning": "yellow", "unknown": "yellow",
}  # fmt: skip


def show_entries(entries: Sequence[Entry], as_json: bool) -> None:
    """Write a table of backups."""
    from aegis.wire.backups import entry_json

    if as_json:
        show_json({"items": [entry_json(entry) for entry in entries]})
        return
    table(
        ["backup", "made", "size", "rows", "verdict", "where"],
        [
            [
                entry.name,
                when(_iso(entry.manifest.snapshot_at)) if entry.manifest else "",
                _size(entry.manifest.bytes) if entry.manifest else "",
                str(entry.manifest.rows) if entry.manifest else "",
                _verdict(entry),
                _where(entry),
            ]
            for entry in entries
        ],
        wide="backup",
        empty="There is no backup; `aegis backup create` makes one.",
    )


def show_entry(entry: Entry, as_json: bool) -> None:
    """Write one backup."""
    from aegis.wire.backups import entry_json

    if as_json:
        show_json(entry_json(entry))
        return
    manifest = entry.manifest
    line(f"{style(entry.name, 'bold')} {_verdict(entry)}")
    rows: list[tuple[str, Any]] = [("damage", entry.damage), ("hold", entry.state.hold)]
    if manifest is not None:
        rows += [
            ("snapshot", when(_iso(manifest.snapshot_at))),
            ("database", f"{manifest.database}, PostgreSQL {manifest.server_version}, "
                         f"revision {manifest.schema_revision or 'none'}"),
            ("contents", f"{len(manifest.tables)} tables, {manifest.rows} rows"),
            ("files", f"{_size(manifest.bytes)} in {len(manifest.files)}, {manifest.format}, "
                      f"{manifest.compression}{', encrypted' if manifest.encrypted else ''}"),
            ("extensions", ", ".join(f"{n} {v}" for n, v in manifest.extensions.items())),
            ("seconds", ", ".join(f"{n} {s:g}" for n, s in manifest.timings.items())),
        ]  # fmt: skip
    rows += [("where", _where(entry)), ("folder", str(entry.path))]
    pairs(rows)
    for look in (entry.state.fast, entry.state.full):
        for check in look.checks if look is not None else ():
            line(f"  {style(check.verdict, _COLOURS[check.verdict])} {check.name}: {check.detail}")


def show_checks(found: Sequence[Result], as_json: bool) -> None:
    """Write what is an alarm; a critical one ends the command with its status."""
    from aegis.errors import OpsError

    if as_json:
        show_json({"items": found})
    else:
        for item in found:
            line(f"{style(item.state, _COLOURS[item.state])} {item.id}: {item.observed}")
            if item.state != "ok":
                line(f"  {item.advice}")
    critical = [item.id for item in found if item.state == "critical"]
    if critical:
        raise OpsError(f"Critical: {', '.join(critical)}.", code="backup_alarm")


def show_pruned(items: Sequence[Pruned], as_json: bool, *, done: bool) -> None:
    """Write what went or would go, and why the others stay."""
    if as_json:
        show_json({"items": items, "done": done})
        return
    for item in items:
        goes = item.choice.goes
        what = ("removed" if item.done else "in use") if done and goes else ""
        word = what or ("goes" if goes else "stays")
        line(f"{word:8}{item.place:7} {item.choice.name}: {item.choice.reason}")
    if not done and any(item.choice.goes for item in items):
        note("Nothing was removed; add --yes to do it.")


def plan_text(plan: Plan) -> str:
    """Return a plan as text."""
    lines = [f"Restore {plan.source} on {plan.server}:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(plan.steps, 1)]
    lines += [f"  Note: {text}." for text in plan.warnings]
    lines += [f"  FORBIDS IT: {text}." for text in plan.problems]
    return "\n".join(lines)


def show_plan(plan: Plan, as_json: bool) -> None:
    """Write a plan."""
    if as_json:
        show_json(plan)
    else:
        line(plan_text(plan))


def show_restored(done: Restored, as_json: bool) -> None:
    """Write how a restore ended."""
    if as_json:
        show_json(done)
        return
    line(f"Restored: {style(done.database, 'bold')} ({done.detail}).")
    line(", ".join(f"{name} {seconds:g} s" for name, seconds in done.timings.items()))
    if done.kept_as is not None:
        note(
            f"What was there is kept as {done.kept_as}; when it is not needed any more: "
            f'DROP DATABASE "{done.kept_as}"'
        )


def show_drills(drills: Sequence[Drill], as_json: bool) -> None:
    """Write drills and their figures."""
    if as_json:
        show_json({"items": drills})
        return
    table(
        ["drill", "backup", "verdict", "recovered in", "work lost", "from"],
        [
            [
                when(_iso(drill.started_at)),
                drill.backup,
                style(drill.verdict, _COLOURS[drill.verdict]),
                f"{drill.rto_s:.1f} s",
                f"{drill.rpo_s / 3600:.1f} h",
                drill.source,
            ]
            for drill in drills
        ],
        wide="backup",
        empty="There was no drill yet.",
    )


def _verdict(entry: Entry) -> str:
    text = entry.verdict.replace("_", " ") + (f" ({entry.level})" if entry.level else "")
    return style(text, _COLOURS[entry.verdict])


def _where(entry: Entry) -> str:
    places = ["here"] if entry.local else []
    places += [copy.destination.partition(":")[0] for copy in entry.state.copies]
    return ", ".join(places) + (", held" if entry.state.hold else "")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"
