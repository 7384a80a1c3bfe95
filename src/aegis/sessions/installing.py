"""Hooks in Claude Code's settings, and a plugin of them: files, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError, InvalidInput
from aegis.sessions.settings_text import hook_entries, with_hooks, without_hooks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["change_settings", "write_plugin"]

_NEW = "{}\n"
_BOM = "\ufeff"


def change_settings(path: Path, command: Sequence[str] | None) -> bool:
    """Put the hooks into a settings file, or without a command take them out.

    Returns whether the file was changed.

    Raises:
        ConfigError: it cannot be read or written, or is no settings file; it is as it was.
    """
    # Settings kept elsewhere are linked to: the link stays.
    target = path.resolve()
    before = _read(target)
    bom = _BOM if before is not None and before.startswith(_BOM) else ""
    text = _NEW if before is None else before.removeprefix(_BOM) or _NEW
    try:
        after = without_hooks(text) if command is None else with_hooks(text, command)
    except ConfigError as error:
        raise ConfigError(
            f"{path} was left as it is. {error.message} Correct it, then try again.",
            code=error.code,
        ) from None
    if after == text:
        return False
    _write(target, (bom + after).encode())
    return True


def write_plugin(folder: Path, command: Sequence[str], *, version: str) -> list[str]:
    """Write a folder that Claude Code takes as a marketplace with one plugin; return its files.

    Raises:
        InvalidInput: the folder is there and not empty.
        ConfigError: it cannot be written.
    """
    text = "Sessions and long-term memory by Aegis."
    plugin: dict[str, Any] = {"name": "aegis", "description": text, "version": version}
    files: dict[str, dict[str, Any]] = {
        ".claude-plugin/marketplace.json": {
            "name": "aegis-local",
            "owner": {"name": "Aegis"},
            "plugins": [{"name": "aegis", "source": "./aegis", "description": text}],
        },
        "aegis/.claude-plugin/plugin.json": plugin,
        "aegis/hooks/hooks.json": {
            "description": text,
            "hooks": {event: [entry] for event, entry in hook_entries(command).items()},
        },
        "aegis/.mcp.json": {
            "mcpServers": {"aegis": {"command": command[0], "args": [*command[1:], "mcp"]}}
        },
    }
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInput(f"{folder} is not empty; name a folder that does not exist.")
        for name, content in files.items():
            _write(folder / name, json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error}.") from error
    return list(files)


def _read(path: Path) -> str | None:
    try:
        # Bytes, decoded: reading as text would turn the line ends.
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", code="settings_unreadable") from error


def _write(path: Path, content: bytes) -> None:
    """Write a file beside and move it there, with the permissions that it had."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.chmod(mode)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}. It is as it was.", code="settings_unwritable"
        ) from error
