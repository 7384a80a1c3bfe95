"""`aegis security audit`: who changed what through Aegis, and whether anybody changed that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Since, Until, Yes
from aegis.cli.running import confirm, maybe_time, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App(help="The audit log: who changed what through Aegis.")

#: Exit status of `verify`, as those of `doctor`.
_EXIT = {"ok": 0, "warning": 1, "tampered": 2}
_COLOUR = {"ok": "green", "warning": "yellow", "tampered": "red"}


@app.add
def list_(
    since: Since = None,
    until: Until = None,
    actor: Annotated[
        str | None, Option(help="A kind, such as operator or worker, or an id.")
    ] = None,
    action: Annotated[str | None, Option(help="An action, or an area such as 'keys.*'.")] = None,
    object_: Annotated[
        str | None, Option("--object", help="A kind, such as key, or key:ID.")
    ] = None,
    before: Annotated[int | None, Option(help="Rows before this number.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was changed, the newest first."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return plain(
            await client.audit_log.list(
                since=maybe_time("--since", since),
                until=maybe_time("--until", until),
                actor=actor,
                action=action,
                object=object_,
                before=before,
                limit=limit,
            )
        )

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
        return
    table(
        ["seq", "when", "who", "action", "object", "details"],
        [
            [
                str(item["seq"]),
                when(item["recorded_at"]),
                _who(item),
                item["action"],
                _what(item),
                _brief(item["details"]),
            ]
            for item in items
        ],
        wide="details",
        empty="Nothing was changed.",
    )


@app.add
def show(
    seq: Annotated[int, Argument(metavar="SEQ", help="Number of the row.")],
    as_json: AsJson = False,
) -> None:
    """Show one row with everything in it."""
    from aegis.cli.render import pairs, show_json, when
    from aegis.security.audit.actions import ACTIONS
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return plain(await client.audit_log.get(seq))

    item: dict[str, Any] = with_client(work)
    if as_json:
        show_json(item)
        return
    meanings: dict[str, str] = {**ACTIONS}
    pairs(
        [
            ("seq", str(item["seq"])),
            ("when", when(item["recorded_at"])),
            ("who", _who(item)),
            ("face", item["face"]),
            ("request", item["request_id"]),
            ("action", item["action"]),
            ("meaning", meanings.get(item["action"])),
            ("object", _what(item)),
            *((name, _brief(value)) for name, value in item["details"].items()),
            ("hash", item["hash"]),
        ]
    )


@app.add
def verify(
    recent: Annotated[
        bool, Option("--recent", help="Only what was added since the last anchor.")
    ] = False,
    anchors: Annotated[
        Path | None,
        Option(
            help="What to compare with: a copy of audit-anchors.jsonl, a backup's folder, or its "
            "manifest.json."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find any tampering; exit status 0: intact, 1: warnings, 2: tampered."""
    import click

    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    def progress(rows: int, of: int) -> None:
        if sys.stderr.isatty() and of > 20_000:
            print(f"\r{rows:,} of {of:,} rows", end="", file=sys.stderr)  # noqa: T201

    async def work(client: Aegis) -> Any:
        return plain(
            await client.audit_log.verify(complete=not recent, anchors=anchors, progress=progress)
        )

    found: dict[str, Any] = with_client(work)
    if as_json:
        show_json(found)
    else:
        _show_verification(found)
    raise click.exceptions.Exit(_EXIT[found["state"]])


@app.add
def head(
    accept: Annotated[
        bool, Option(help="The log was put back on purpose, by a restore: say so in it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show where the chain stands, signed, and write it down in the data folder."""
    from aegis.cli.render import pairs, show_json, when

    if accept:
        confirm("Anchors beyond the head will be void; the log gets a row that says so.", yes=yes)

    async def work(client: Aegis) -> Any:
        from aegis.security.audit.anchors import anchor_path, written

        anchor = await client.audit_log.head(accept=accept)
        return written(anchor), str(anchor_path(client.settings))

    found, path = with_client(work)
    if as_json:
        show_json(found)
        return
    pairs(
        [
            ("log", found["log_id"]),
            ("rows", str(found["seq"])),
            ("hash", found["hash"]),
            ("at", when(found["at"])),
            ("secret", found["secret_id"]),
            ("signature", found["signature"]),
            ("file", path),
        ]
    )


@app.add
def export(
    out: Annotated[
        Path | None, Option("--out", "-o", help="File to write; standard output otherwise.")
    ] = None,
) -> None:
    """Write every row with its hashes and signature, one JSON document a line."""
    import json
    import os

    from aegis.wire.plain import plain

    async def work(client: Aegis) -> int:
        count = 0
        target = sys.stdout
        if out is not None:
            # What is in it is for the operator alone, and no other file is written over.
            handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            target = os.fdopen(handle, "w", encoding="utf-8")
        try:
            async for row in client.audit_log.export():
                target.write(json.dumps(plain(row), ensure_ascii=False) + "\n")
                count += 1
            target.flush()
            if out is not None:
                os.fsync(target.fileno())
        finally:
            if out is not None:
                target.close()
        return count

    from aegis.errors import InvalidInput

    try:
        count = with_client(work)
    except FileExistsError:
        raise InvalidInput(f"{out} is there already; name another file.") from None
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}.") from None
    if out is not None:
        from aegis.cli.render import note

        note(f"{count:,} rows in {out}")


@app.add
def seal(
    before: Annotated[
        str, Option(help="Let rows go that are older than this time.", metavar="TIME")
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let old rows go under a signed seal, so that the rest still verifies."""
    from aegis.cli.render import line, show_json
    from aegis.wire.plain import plain

    at = maybe_time("--before", before)
    assert at is not None

    async def look(client: Aegis) -> Any:
        return await client.audit_log.sealable(at)

    async def work(client: Aegis) -> Any:
        return await client.audit_log.seal(at)

    if not yes:
        plan = with_client(look)
        if plan is not None:
            confirm(
                f"Rows {plan.from_seq} to {plan.through_seq} ({plan.rows:,}) will be deleted. "
                "Export them first, if they are to be kept.",
                yes=False,
            )
    done = with_client(work)
    if as_json:
        show_json({"sealed": plain(done)})
    elif done is None:
        line("There is nothing as old as that.")
    else:
        line(f"Rows {done.from_seq} to {done.through_seq} are sealed and deleted.")


@app.add
def pgaudit(as_json: AsJson = False) -> None:
    """Show whether the server itself writes down what passes Aegis by; status 1 if it does not."""
    import click

    from aegis.cli.render import line, show_json, table
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        return plain(await client.audit_log.pgaudit())

    found: dict[str, Any] = with_client(work)
    if as_json:
        show_json(found)
    else:
        line(found["said"])
        if found["state"] != "could_not_check":
            table(
                ["setting", "is", "proposed", "why"],
                [[s["name"], s["value"] or "", s["proposed"], s["why"]] for s in found["settings"]],
                wide="why",
                empty="",
            )
        for statement in found["statements"]:
            line(statement)
    raise click.exceptions.Exit(0 if found["state"] == "ok" else 1)


def _show_verification(found: dict[str, Any]) -> None:
    from aegis.cli.render import line, style, table

    words = {"ok": "intact", "warning": "intact, with warnings", "tampered": "TAMPERED"}
    range_ = f"rows {found['from_seq']} to {found['through_seq']}" if found["rows"] else "no rows"
    line(
        f"{style(words[found['state']], _COLOUR[found['state']])}: {range_}, "
        f"{found['rows']:,} read in {found['elapsed_ms'] / 1000:.1f} s"
    )
    if found["findings"]:
        table(
            ["row", "kind", "what"],
            [
                ["" if f["seq"] is None else str(f["seq"]), f["kind"], f["text"]]
                for f in found["findings"]
            ],
            wide="what",
            empty="",
        )
    more = found["problems"] + found["warnings"] - len(found["findings"])
    if more > 0:
        line(f"and {more:,} more")
    line(f"head {found['head_hash']}")


def _who(item: dict[str, Any]) -> str:
    return f"{item['actor_kind']} {item['actor_id'] or ''}".strip()


def _what(item: dict[str, Any]) -> str:
    return f"{item['object_kind']} {item['object_id'] or ''}".strip()


def _brief(value: Any) -> str:
    import json

    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name}={_brief(item)}" for name, item in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return json.dumps(value, ensure_ascii=False)
