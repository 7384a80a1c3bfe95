"""The entry point: the tree of commands, and how every error ends."""

from __future__ import annotations

import sys

import click

from aegis.cli.command import App
from aegis.cli.exits import BROKEN_PIPE, INTERRUPTED, UNEXPECTED, USAGE, status_of
from aegis.errors import AegisError
from aegis.security.audit.actor import Actor, acting_as

__all__ = ["app", "main", "run", "version"]

app = App(help="Aegis: the database of an autonomous AI agent.")
app.add_later("up", "aegis.cli.up:up")
app.add_later("memory", "aegis.cli.memory:app")
app.add_later("keys", "aegis.cli.keys:app")
app.add_later("usage", "aegis.cli.usage:app")
app.add_later("billing", "aegis.cli.billing:app")
app.add_later("metrics", "aegis.cli.metrics:app")
app.add_later("worker", "aegis.cli.worker:app")
app.add_later("schedule", "aegis.cli.schedule:app")
app.add_later("jobs", "aegis.cli.jobs:app")
app.add_later("workflow", "aegis.cli.workflow:app")
app.add_later("intel", "aegis.cli.intel:app")
app.add_later("backup", "aegis.cli.backup:app")
app.add_later("doctor", "aegis.cli.doctor:doctor")
app.add_later("maintenance", "aegis.cli.maintenance:app")
app.add_later("alerts", "aegis.cli.alerts:app")
app.add_later("security", "aegis.cli.security:app")
app.add_later("db", "aegis.cli.db:app")
app.add_later("sessions", "aegis.cli.sessions:app")
app.add_later("research", "aegis.cli.research:app")
app.add_later("hook", "aegis.cli.hooks:app")
app.add_later("mcp", "aegis.cli.mcp:mcp")
app.add_later("version", "aegis.cli.main:version")
app.params += [
    click.Option(["--version"], is_flag=True, help="Show the version."),
    click.Option(
        ["--debug"], is_flag=True, help="Show the traceback of an error; anywhere on the line."
    ),
]


def version() -> None:
    """Show the version."""
    from aegis import __version__
    from aegis.cli.render import line

    line(f"aegis {__version__}")


def main() -> None:
    """Run the command line and end the process with the status of its outcome."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command and return its exit status (`exits.py`)."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    debug = "--debug" in options
    arguments = [a for a in options if a != "--debug"] + argv[len(options) :]
    if arguments[:1] == ["--version"]:
        arguments = ["version"]
    try:
        with acting_as(Actor(kind="cli", face="cli")):
            status = app.main(arguments, prog_name="aegis", standalone_mode=False)
    except AegisError as error:
        return _failed(error, f"{error.message} [{error.code}]", status_of(error), debug)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 (the outermost edge)
        text = f"{type(error).__name__}: {error}. Run it with --debug and report it. [unexpected]"
        return _failed(error, " ".join(text.split()), UNEXPECTED, debug)
    return status if isinstance(status, int) else 0


def _failed(error: BaseException, text: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"aegis: {text}", file=sys.stderr)  # noqa: T201
    return status


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    path = "aegis" if context is None else context.command_path
    message = " ".join(error.format_message().split())
    option = str(getattr(error, "option_name", ""))
    if option[1:2].isdigit():
        # No option begins with a digit: somebody meant a number below 0.
        message = f"{option}… is no option; no number here may be below 0."
    print(f"aegis: {message} See `{path} --help`. [usage]", file=sys.stderr)  # noqa: T201
    return USAGE


if __name__ == "__main__":
    main()
