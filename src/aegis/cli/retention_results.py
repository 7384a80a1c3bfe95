"""How people see what is forgotten: plans, policies, archives, erasures."""

from __future__ import annotations

from typing import Any

from aegis.cli.render import clip, line, note, table, when

__all__ = [
    "show_archives",
    "show_erasure",
    "show_erasure_plan",
    "show_erasures",
    "show_plan",
    "show_policies",
]

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def show_plan(plan: dict[str, Any]) -> None:
    """Write what would be archived, and why."""
    line(f"{plan['faded']} memories of {plan['namespace']} have faded below {plan['below']:g}.")
    table(
        ["id", "score", "when", "memory", "why"],
        [
            [
                str(faded["id"]),
                f"{faded['score']:.4f}",
                when(faded["timestamp"]),
                clip(faded["summary"], 60),
                faded["why"],
            ]
            for faded in plan["sample"]
        ],
        wide="memory",
        empty="Nothing would be archived.",
    )
    if plan["expired"]:
        expired = ", ".join(f"{rows} {kind}s" for kind, rows in plan["expired"].items())
        line(f"Expired, for the sweep: {expired}; {plan['blocked']} episodes stay (held, decided).")
    protected = ", ".join(f"{rows} {why}" for why, rows in plan["protected"].items() if rows)
    line(f"Never forgotten: {protected or 'nothing'}.")


def show_policies(policies: list[dict[str, Any]]) -> None:
    """Write how long which memories live."""
    table(
        ["type", "importance", "lives", "then", "since"],
        [
            [
                p["event_type"] or "any",
                p["importance"] or "any",
                _time(p["ttl_s"]),
                p["action"],
                when(p["set_at"]),
            ]
            for p in policies
        ],
        wide="type",
        empty="There are no policies: what names no end of its own lives for ever.",
    )


def show_archives(archives: list[dict[str, Any]]) -> None:
    """Write archives, a line each."""
    table(
        ["id", "kind", "why", "state", "rows", "from", "until", "file"],
        [
            [
                str(a["id"]),
                a["kind"],
                a["reason"],
                a["state"],
                str(a["rows"]),
                when(a["oldest_at"]),
                when(a["newest_at"]),
                a["path"],
            ]
            for a in archives
        ],
        wide="file",
        empty="There are no archives.",
    )


def show_erasure_plan(plan: dict[str, Any]) -> None:
    """Write what would be deleted."""
    table(
        ["where", "rows"],
        [
            *([name, str(rows)] for name, rows in plan["rows"].items()),
            *([f"archive {name}", str(rows)] for name, rows in plan["archived"].items()),
            *([["log lines", str(plan["log_lines"])]] if plan["log_lines"] else []),
            *([["spooled lines", str(plan["spool_lines"])]] if plan["spool_lines"] else []),
        ],
        wide="where",
        empty="Nothing speaks of this subject.",
    )
    for mention in plan["sample"]:
        line(f"  {mention['table']} {mention['id']}: {clip(mention['text'], 100)}")
    if plan["held"]:
        note(f"{plan['held']} of the episodes are held; they are deleted all the same.")
    if plan["transcripts"]:
        note(
            f"{plan['transcripts']} transcripts of agents speak of the subject; the files stay, "
            "and are not read again. Delete them where the agent keeps them."
        )
    if plan["graphiti_copies"]:
        note(
            f"Graphiti has copies of {plan['graphiti_copies']} of the episodes; they stay there. "
            "The proof will list their uuids: remove_episode(uuid) of graphiti-core deletes one."
        )
    for name, rows in plan["elsewhere"].items():
        note(f"{name}: {rows} rows speak of the subject and are not of memory; they stay.")
    for archive in plan["unreadable"]:
        note(f"The file of archive {archive} cannot be read here; it stays as it is.")


def show_erasure(proof: dict[str, Any]) -> None:
    """Write what was deleted, and what is out of reach."""
    found = proof["verification"]
    for name, rows in sorted(proof["counts"].items()):
        line(f"{name}: {rows}")
    line(f"Erasure {proof['id']} is done; `aegis memory erase verify {proof['id']}` looks again.")
    left = {**found["found"]}
    if found["found_in_archives"]:
        left["archives"] = found["found_in_archives"]
    for name, rows in left.items():
        note(f"{name}: {rows} rows still speak of the subject.")
    for archive in found["unreadable_archives"]:
        note(f"The file of archive {archive} could not be read here.")
    for name in found["not_rewritten"]:
        note(f"Not written anew: {name}; deleted bytes may stay on the disk until reused.")
    copies = proof["digests"].get("graphiti_copies", [])
    if copies:
        note(
            f"Graphiti still has copies of {len(copies)} episodes. Delete each with "
            "remove_episode(uuid) of graphiti-core; `--json` lists the uuids as "
            "digests.graphiti_copies."
        )
    wal = found["wal"]
    note(
        f"The write-ahead log up to {wal['until_lsn']} still holds what was deleted, until its "
        f"files are reused (max_wal_size {wal['max_wal_size']}, archive_mode "
        f"{wal['archive_mode']}, {wal['slots']} replication slots). So do backups made before."
    )


def show_erasures(erasures: list[dict[str, Any]]) -> None:
    """Write erasures, a line each."""
    table(
        ["id", "state", "stage", "begun", "finished", "deleted"],
        [
            [
                str(e["id"]),
                e["state"],
                e["stage"],
                when(e["started_at"]),
                when(e["finished_at"]),
                ", ".join(f"{rows} {name}" for name, rows in sorted(e["counts"].items())),
            ]
            for e in erasures
        ],
        wide="deleted",
        empty="Nothing was erased yet.",
    )


def _time(seconds: int) -> str:
    unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0)
    return f"{seconds // size}{unit}"
