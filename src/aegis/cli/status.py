"""What `aegis db status` finds out, and how it shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.cli.render import line, pairs, style, when

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["database_status", "show_status"]


def database_status(settings: Settings) -> dict[str, Any]:
    """Return everything that is known, in JSON form; a stopped server stays stopped."""
    from aegis.wire.plain import plain

    found: dict[str, Any] = {"server": {"state": "running", "embedded": False}}
    dsn = settings.database_url
    if dsn is None:
        from aegis.db import embedded

        server = embedded.status(settings)
        found["server"] = {"embedded": True, **plain(server)}
        if server.state != "running":
            return found
        dsn = embedded.dsn(settings)
    overview = plain(_look(dsn, settings))
    found["server"] |= overview.pop("server")
    return {**found, **overview, "serving": _serving(settings)}


def show_status(found: dict[str, Any]) -> None:
    """Write the status for people."""
    server = found["server"]
    if server["state"] != "running":
        pairs([("server", f"{server['state']} (embedded)"), ("data", server["data_dir"])])
        line("`aegis up` or `aegis db start` starts it.")
        return
    database, schema, serving = found["database"], found["schema"], found["serving"]
    kind = f"embedded, process {server['pid']}" if server["embedded"] else "given"
    clients = f"{database['connections']} of {database['max_connections']} connections"
    pairs(
        [
            (
                "server",
                f"PostgreSQL {server['version']}, {kind}, since {when(database['started_at'])}",
            ),
            ("data", server.get("data_dir")),
            ("database", f"{database['name']}, {_size(database['size_bytes'])}, {clients}"),
            ("schema", _schema(schema, found["schema_head"])),
            ("pgvector", server["pgvector"]),
            ("served", _served(serving)),
        ]
    )
    for state in found["extensions"]:
        line(_extension(state))
    for advice in server["advice"]:
        line(style(f"Advice: {advice}", "yellow"))


def _look(dsn: str, settings: Settings) -> Any:
    import asyncio

    from aegis.db import Database
    from aegis.db.overview import overview

    async def look() -> Any:
        async with (
            await Database.open(dsn, settings, min_size=1) as db,
            db.transaction() as conn,
        ):
            return await overview(conn)

    return asyncio.run(look())


def _serving(settings: Settings) -> Any:
    from aegis.cli.served import ask
    from aegis.wire.presence import find_presence

    presence = find_presence(settings.data_dir)
    if presence is None:
        return None
    answer = ask(settings, "/v1/status")
    return {"url": presence.url, "pid": presence.pid, "pool": answer and answer["pool"]}


def _schema(schema: dict[str, Any], head: str) -> str:
    text = f"{schema['revision'] or 'none'} ({schema['state']})"
    return text if schema["state"] == "current" else style(f"{text}, needs {head}", "yellow")


def _served(serving: dict[str, Any] | None) -> str:
    if serving is None:
        return "no"
    text = f"{serving['url']} (process {serving['pid']})"
    pool = serving["pool"]
    if pool:
        text += f", pool {pool['size']} of {pool['max_size']}, {pool['available']} free"
    return text


def _extension(state: dict[str, Any]) -> str:
    extension = state["extension"]
    name = extension["name"].ljust(20)
    if state["installed"] and not state["problem"]:
        return f"  {style('+', 'green')} {name} {state['installed']}: {extension['purpose']}"
    how = state["problem"] or (
        f'`CREATE EXTENSION "{extension["name"]}"` brings it'
        if state["available"]
        else "not installed on the server"
    )
    return f"  {style('-', 'yellow')} {name} {extension['absence']} ({how})"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
