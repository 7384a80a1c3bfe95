"""`aegis up`: everything in one process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import Option
from aegis.cli.render import line, note, style

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.serve.process import Serving

__all__ = ["up"]


def up(
    host: Annotated[str | None, Option(help="Address to listen on; loopback.")] = None,
    port: Annotated[int | None, Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Serve the database, the HTTP API and MCP.

    The embedded database is started if none is given, and the schema brought up to date.

    Ctrl-C stops: requests are finished, then the database is stopped if this started it.
    """
    began = time.monotonic()
    from aegis.config import load_settings
    from aegis.serve.process import serve
    from aegis.wire.log import log_to_stderr

    log_to_stderr()
    settings = load_settings(api_host=host, api_port=port)
    serve(
        settings,
        on_ready=lambda serving: _show(serving, settings, time.monotonic() - began),
        say=note,
    )
    note("Aegis has stopped.")


def _show(serving: Serving, settings: Settings, seconds: float) -> None:
    from aegis import __version__

    server = f"PostgreSQL {serving.server_version}, pgvector {serving.pgvector}"
    where = f"embedded in {_short(settings.data_dir)}" if serving.embedded else serving.database
    token = _short(serving.token_path)
    header = f'"Authorization: Bearer $(cat {token})"'
    # Narrow enough for 80 columns: a command that wraps cannot be copied.
    lines = [
        style(f"Aegis {__version__} serves", "bold", "green") + f" after {seconds:.1f} s.",
        "",
        _row("HTTP API", f"{serving.url}/v1"),
        _row("OpenAPI", f"{serving.url}/openapi.json"),
        _row("MCP", serving.mcp_url),
        _row("Database", f"{server}, schema {serving.schema}"),
        _row("", where),
        _row("Token", f"{token}  (yours alone to read)"),
        "",
        style("Connect an agent", "bold"),
        _row("Claude Code", "claude mcp add aegis -- aegis mcp"),
        _row("over HTTP", "claude mcp add --transport http aegis \\"),
        f"    {serving.mcp_url} \\",
        f"    --header {header}",
        _row("curl", f"curl {serving.url}/v1/memory/recall \\"),
        f"    -H {header} \\",
        "    -H 'Content-Type: application/json' \\",
        """    -d '{"query": "what did we decide?"}'""",
        _row("Python", 'async with aegis.connect() as a: await a.memory.recall("…")'),
        _row("Shell", 'aegis memory recall "what did we decide?"'),
        "",
        *(style(f"Advice: {text}", "yellow") for text in serving.advice),
        "Ctrl-C stops.",
    ]
    for text in lines:
        line(text)


def _row(name: str, text: str) -> str:
    return f"  {style(name.ljust(12), 'cyan')} {text}"


def _short(path: Path) -> str:
    from pathlib import Path

    text, home = str(path), str(Path.home())
    return "~" + text[len(home) :] if text.startswith(home + "/") else text
