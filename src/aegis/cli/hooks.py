"""`aegis hook EVENT|install|plugin`: what Claude Code calls, and how it comes to call it.

An event takes the short way (`entry`, `hook`); this module is for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option, make_command
from aegis.cli.options import AsJson

if TYPE_CHECKING:
    import click

__all__ = ["app"]


class _Hook(App):
    """A group in which whatever is no command is an event."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, else one that deals with the event of this name."""

        def event() -> int:
            from aegis.cli.hook import run

            return run(cmd_name)

        return super().get_command(ctx, cmd_name) or make_command(cmd_name, event)


app = _Hook(
    "What Claude Code calls on its events: `aegis hook EVENT`, JSON on standard input. It always "
    "ends with status 0."
)


@app.add
def install(
    project: Annotated[bool, Option(help="In .claude/settings.json of this folder.")] = False,
    user: Annotated[bool, Option(help="In ~/.claude/settings.json; so without either.")] = False,
    uninstall: Annotated[bool, Option("--uninstall", help="Take the hooks out again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add the hooks to Claude Code's settings, or take them out; nothing else is touched."""
    from aegis.cli.render import line, show_json
    from aegis.config import claude_config_dir
    from aegis.errors import InvalidInput
    from aegis.sessions.installing import change_settings

    if project and user:
        raise InvalidInput("--project and --user exclude each other; give one.")
    folder = Path.cwd() / ".claude" if project else claude_config_dir()
    path = folder / "settings.json"
    changed = change_settings(path, None if uninstall else _command())
    if as_json:
        show_json({"path": path, "changed": changed, "installed": not uninstall})
        return
    done = "taken out of" if uninstall else "in"
    line(f"The hooks are {done} {path}{'' if changed else ', as before'}.")


@app.add
def plugin(
    folder: Annotated[Path, Argument(help="Folder to make; must not exist or be empty.")],
    as_json: AsJson = False,
) -> None:
    """Write a plugin for Claude Code: the hooks and the MCP server, in a folder of their own."""
    from aegis import __version__
    from aegis.cli.render import line, show_json
    from aegis.sessions.installing import write_plugin

    written = write_plugin(folder, _command(), version=__version__)
    if as_json:
        show_json({"path": folder, "files": written})
        return
    line(f"The plugin is in {folder}. In Claude Code:")
    line(f"    /plugin marketplace add {folder.absolute()}")
    line("    /plugin install aegis@aegis-local")


def _command() -> list[str]:
    """Return how to call this very installation, wherever the agent's shell looks."""
    import shutil
    import sys

    beside = Path(sys.executable).parent / "aegis"
    if beside.is_file():
        return [str(beside)]
    found: Any = shutil.which("aegis")
    return [found] if found else [sys.executable, "-m", "aegis.cli"]
