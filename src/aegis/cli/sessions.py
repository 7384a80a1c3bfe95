"""`aegis sessions list|show|tail|sweep|import`: what coding agents did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace
from aegis.cli.paging import show_page
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.sessions.models import SessionImport, Swept

__all__ = ["app"]

app = App("Agent sessions: what was asked, done, touched and paid.")

app.add_later("prices", "aegis.cli.prices:app")

_FOLLOW_S = 1.0


@app.add
def list_(
    status: Annotated[
        list[str] | None, Option(help="running, completed, failed, interrupted or abandoned.")
    ] = None,
    cwd: Annotated[str | None, Option(help="Only those in this folder.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, the latest start first."""
    from aegis.wire.cursor import SESSIONS

    show_page(
        SESSIONS,
        lambda a, before: a.sessions.list(
            limit=limit, before=before, status=status or (), cwd=cwd
        ),
        _show_list, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


@app.add
def show(
    session_id: Annotated[str, Argument(help="Id of the session; of a sub-agent SESSION:AGENT.")],
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show a session: tools, files, tokens, cost, sub-agents."""
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    detail = plain(with_client(lambda a: a.sessions.get(session_id), namespace=namespace))
    if as_json:
        show_json(detail)
    else:
        _show_detail(detail)


@app.add
def tail(
    session_id: Annotated[str | None, Argument(help="Of this session; of all otherwise.")] = None,
    limit: Limit = 20,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    namespace: Namespace = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the last events, and with --follow those that come."""
    import asyncio

    async def work(client: Aegis) -> None:
        rows = await client.sessions.events(session_id, limit=limit)
        last = 0
        while True:
            for row in rows:
                _show_event(row, as_json=as_json)
                last = row.id
            if not follow:
                return
            await asyncio.sleep(_FOLLOW_S)
            rows = await client.sessions.events(session_id, after=last, limit=1_000)

    with_client(work, namespace=namespace)


@app.add
def sweep(
    idle_minutes: Annotated[
        int | None,
        Option(help="Close after so much silence; AEGIS_SESSION_IDLE_MINUTES otherwise."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write what hooks left in the spool, read transcripts, close what has been silent.

    `aegis up` does it by itself.
    """
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Swept:
        return await client.sessions.sweep(idle_minutes=idle_minutes)

    swept = with_client(work)
    if as_json:
        show_json(swept)
        return
    line(
        f"{swept.drained} events written, {swept.read} transcripts read, {swept.remembered} "
        f"episodes recorded, {len(swept.closed)} sessions closed, "
        f"{swept.dropped} old events dropped."
    )


@app.add
def import_(
    path: Annotated[
        Path | None, Argument(help="A transcript or a folder; `~/.claude/projects` otherwise.")
    ] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Import transcripts of Claude Code; running it again adds only what is new."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json
    from aegis.config import claude_config_dir

    place = path or claude_config_dir() / "projects"
    with counting("Importing") as seen:

        async def work(client: Aegis) -> SessionImport:
            return await client.sessions.import_path(place, on_progress=seen)

        report = with_client(work, namespace=namespace)
    if as_json:
        show_json(report)
        return
    line(
        f"{report.files} files, {report.sessions} sessions: {report.events} events, "
        f"{report.messages} messages, {report.remembered} episodes new; "
        f"{report.broken} broken lines."
    )


def _show_list(page: dict[str, Any]) -> None:
    from aegis.cli.render import clip, table, when

    table(
        ["session", "started", "status", "prompts", "tools", "tokens", "cost", "about"],
        [
            [
                clip(s["session_id"], 36),
                when(s["started_at"]),
                s["status"],
                str(s["prompts"]),
                str(s["tool_calls"]),
                f"{s['input_tokens'] + s['output_tokens']:,}",
                _cost(s),
                clip(s["title"] or s["command"] or s["cwd"] or "", 400),
            ]
            for s in page["items"]
        ],
        wide="about",
        empty="There is no session.",
    )


def _show_detail(detail: dict[str, Any]) -> None:
    from aegis.cli.render import clip, pairs, table, when

    s = detail["session"]
    tools = [f"{t['tool']} {t['calls']}" for t in detail["tools"]]
    pairs(
        [
            ("session", s["session_id"]),
            ("sub-agent of", s["parent"]),
            ("status", s["status"] + (f" ({s['end_reason']})" if s["end_reason"] else "")),
            ("started", when(s["started_at"])),
            ("last event", when(s["last_event_at"])),
            ("ended", when(s["ended_at"]) or None),
            ("resumed", s["resumes"] or None),
            ("user", s["user_id"]),
            ("folder", s["cwd"]),
            ("model", s["model"]),
            ("title", s["title"]),
            ("first prompt", s["command"] and clip(s["command"], 400)),
            ("prompts", s["prompts"]),
            ("tool calls", f"{s['tool_calls']}, {s['tool_failures']} failed"),
            ("tools", tools),
            ("tokens", f"{s['input_tokens']:,} in, {s['output_tokens']:,} out"),
            (
                "cache",
                f"{s['cache_write_tokens']:,} written, {s['cache_read_tokens']:,} read",
            ),
            ("cost", _cost(s) or None),
            ("transcript", s["transcript_path"]),
        ]
    )
    if detail["files"]:
        table(
            ["calls", "tools", "file"],
            [[str(f["calls"]), ", ".join(f["tools"]), f["path"]] for f in detail["files"]],
            wide="file",
            empty="",
        )
    if detail["agents"]:
        _show_list({"items": detail["agents"], "next_cursor": None})


def _cost(session: dict[str, Any]) -> str:
    cost = "" if session["cost_usd"] is None else f"${session['cost_usd']:,.4f}"
    unpriced = session["unpriced_messages"]
    return f"{cost} +{unpriced} unpriced".strip() if unpriced else cost


def _show_event(row: Any, *, as_json: bool) -> None:
    import json

    from aegis.cli.render import clip, line, style, width
    from aegis.wire.plain import plain

    event = plain(row)
    if as_json:
        line(json.dumps(event, ensure_ascii=False))
        return
    what = event["path"] or event["text"] or ""
    name = f"{event['event']} {event['tool'] or ''}".strip()
    colour = ("red",) if event["failed"] else ()
    head = f"{event['at'][:19]}Z  {event['session_id'][:8]}  "
    line(clip(head + style(name, *colour) + f"  {what}", width()))
