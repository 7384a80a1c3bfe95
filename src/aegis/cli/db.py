"""`aegis db …`: the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli import schema
from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Yes

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["app"]

app = App("The database: its server and its schema.")


@app.add
def init(as_json: AsJson = False) -> None:
    """Make the database: start the embedded server if none is given, and create the schema."""
    from aegis.cli.render import line, note, show_json
    from aegis.config import load_settings
    from aegis.serve.database import prepare

    prepared = prepare(load_settings(), note)
    if as_json:
        show_json({"url": _shown(prepared.dsn), "started": prepared.started})
    else:
        line(f"The database is ready: {_shown(prepared.dsn)}")


@app.add
def start(as_json: AsJson = False) -> None:
    """Start the embedded server; it goes on after the command ends."""
    from aegis.cli.render import line, show_json
    from aegis.db import embedded

    endpoint = embedded.start(_embedded_settings())
    if as_json:
        show_json({"url": endpoint.dsn, "pid": endpoint.pid, "started": endpoint.started})
    else:
        what = "Started" if endpoint.started else "It runs already:"
        line(f"{what} PostgreSQL on port {endpoint.port} (process {endpoint.pid}).")


@app.add
def stop(
    mode: Annotated[
        str,
        Option(help="fast; smart waits for clients; immediate is a crash, recovered from."),
    ] = "fast",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stop the embedded server."""
    from aegis.cli.render import line, show_json
    from aegis.db import embedded
    from aegis.errors import Conflict, InvalidInput
    from aegis.wire.presence import find_presence

    settings = _embedded_settings()
    if mode not in ("fast", "smart", "immediate"):
        raise InvalidInput(f"mode is {mode!r}; use fast, smart or immediate.")
    presence = find_presence(settings.data_dir)
    if presence is not None and not yes:
        raise Conflict(
            f"`aegis up` (process {presence.pid}) works with it; stop that, or add --yes.",
            code="server_in_use",
        )
    stopped = embedded.stop(settings, mode)
    if as_json:
        show_json({"stopped": stopped})
    else:
        line("Stopped." if stopped else "It was not running.")


@app.add
def url() -> None:
    """Print the address that psql takes; starts the embedded server if need be."""
    from aegis.cli.render import line
    from aegis.config import load_settings
    from aegis.db.server import endpoint

    line(endpoint(load_settings()))


@app.add
def shell(arguments: Annotated[list[str], Argument(rest=True, metavar="[PSQL]...")]) -> None:
    """Open psql on the database; what follows is psql's own, such as -c 'SELECT 1'."""
    import os

    from aegis.config import load_settings
    from aegis.db.shell import psql_call

    program, environment = psql_call(load_settings())
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606


@app.add
def status(as_json: AsJson = False) -> None:
    """Show the server, the schema, the extensions, and what is missing; starts nothing."""
    from aegis.cli.render import show_json
    from aegis.cli.status import database_status, show_status
    from aegis.config import load_settings

    found = database_status(load_settings())
    if as_json:
        show_json(found)
    else:
        show_status(found)


schema.add_to(app)
app.add_later("stats", "aegis.cli.stats:app")


def _embedded_settings() -> Settings:
    from aegis.config import load_settings
    from aegis.errors import ConfigError

    settings = load_settings()
    if settings.database_url is not None:
        raise ConfigError(
            "AEGIS_DATABASE_URL names a server that Aegis does not manage; start and stop it "
            "yourself, or unset it for the embedded one.",
            code="server_not_ours",
        )
    return settings


def _shown(dsn: str) -> Any:
    from aegis.db.translate import redact

    return redact(dsn)
