"""`aegis db …`: the server and the schema."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The database: server, schema, adoption.")


@app.command()
def url() -> None:
    """Print the address that psql takes."""
    from aegis.cli.render import line
    from aegis.config import load_settings
    from aegis.db.server import endpoint

    line(endpoint(load_settings()))
