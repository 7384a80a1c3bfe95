"""The entry point: the tree of commands, and how every error ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from aegis.cli import db, memory
from aegis.cli.exits import BROKEN_PIPE, INTERRUPTED, UNEXPECTED, USAGE, status_of
from aegis.cli.mcp import mcp
from aegis.cli.up import up
from aegis.errors import AegisError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="aegis",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The database of an autonomous AI agent.",
)
app.add_typer(memory.app, name="memory")
app.add_typer(db.app, name="db")
app.command()(up)
app.command()(mcp)


@app.command()
def version() -> None:
    """Show the version."""
    _show_version(True)


def _show_version(wanted: bool) -> None:
    if wanted:
        from aegis import __version__
        from aegis.cli.render import line

        line(f"aegis {__version__}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """The database of an autonomous AI agent."""


def main() -> None:
    """Run the command line and end the process with the status of its outcome."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command and return its exit status (`exits.py`)."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    debug = "--debug" in options
    arguments = [a for a in options if a != "--debug"] + argv[len(options) :]
    try:
        status = app(arguments, prog_name="aegis", standalone_mode=False)
    except AegisError as error:
        return _failed(error, f"{error.message} [{error.code}]", status_of(error), debug)
    except TyperException as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        text = f"{type(error).__name__}: {error}. Run it with --debug and report it. [unexpected]"
        return _failed(error, " ".join(text.split()), UNEXPECTED, debug)
    return status if isinstance(status, int) else 0


def _failed(error: BaseException, text: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"aegis: {text}", file=sys.stderr)  # noqa: T201
    return status


def _usage(error: BaseException) -> int:
    message = getattr(error, "format_message", lambda: str(error))()
    path = getattr(getattr(error, "ctx", None), "command_path", "aegis")
    if not message:
        # No subcommand: the help has been shown.
        return USAGE
    print(f"aegis: {message} See `{path} --help`. [usage]", file=sys.stderr)  # noqa: T201
    return USAGE
