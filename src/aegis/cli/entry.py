"""Where the command starts: a hook goes its own short way, everything else through click."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["main"]

#: What stands behind `aegis hook` and is no event.
_COMMANDS = ("install", "plugin")


def main() -> None:
    """Run the command line and end the process with the status of its outcome."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["hook"] and _is_event(arguments[1:]):
        from aegis.cli.hook import run

        status = run(arguments[1] if len(arguments) > 1 else None)
        # The agent may be gone, and with it whoever reads.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # What is left to tear down costs a third of what the hook did.
        os._exit(status)
    from aegis.cli.main import main as run_main

    run_main()


def _is_event(arguments: list[str]) -> bool:
    if not arguments:
        return not sys.stdin.isatty()
    return len(arguments) == 1 and arguments[0] not in _COMMANDS and arguments[0][:1] != "-"
