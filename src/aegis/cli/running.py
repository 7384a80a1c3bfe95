"""How a command gets at the domain: settings, an open client, an event loop; and how it asks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

from aegis.config import load_settings
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from aegis.client import Aegis

__all__ = [
    "confirm",
    "json_object",
    "maybe_time",
    "named",
    "number_or",
    "read_text",
    "with_client",
]

T = TypeVar("T")


def with_client(work: Callable[[Aegis], Awaitable[T]], *, namespace: str | None = None) -> T:
    """Open a client as the environment says, run `work` with it, and return what it returns."""
    import asyncio
    import logging

    from aegis.client import connect
    from aegis.wire.log import log_to_stderr

    # What a driver grumbles about ends as the command's one line.
    log_to_stderr(logging.WARNING, libraries=logging.CRITICAL)
    settings = load_settings(namespace=namespace)

    async def run() -> T:
        async with connect(settings=settings, pool_min_size=1) as client:
            return await work(client)

    return asyncio.run(run())


def confirm(plan: str, *, yes: bool) -> None:
    """Show what will be done and go on if that is wanted.

    Raises:
        InvalidInput: nobody can be asked, and `--yes` was not given.
        click.exceptions.Exit: the answer was no.
    """
    import click

    if yes:
        return
    print(plan, file=sys.stderr)  # noqa: T201
    if not sys.stdin.isatty():
        raise InvalidInput("Nothing was done: add --yes to do it.", code="confirmation_needed")
    if not click.confirm("Go on?", err=True):
        print("Nothing was done.", file=sys.stderr)  # noqa: T201
        raise click.exceptions.Exit(1)


def json_object(name: str, text: str | None) -> Any:
    """Return the JSON value that an option holds; `@FILE` reads a file (`InvalidInput`)."""
    import json

    if text is None:
        return None
    if text.startswith("@"):
        from pathlib import Path

        text = _file_text(name, Path(text[1:]))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}. Write an object in quotes.") from None


def read_text(name: str, text: str) -> str:
    """Return an argument, or standard input for `-` (`InvalidInput`)."""
    if text != "-":
        return text
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} from standard input is not UTF-8: {error}.") from None


def maybe_time(name: str, text: str | None) -> datetime | None:
    """Return the time that an option holds, None for none (`InvalidInput`)."""
    from aegis.memory.validate import parse_time

    return None if text is None else parse_time(name, text)


def number_or(word: str, name: str, text: str) -> int | None:
    """Return the number that an option holds, None for `word` (`InvalidInput`)."""
    if text == word:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{name} is {text!r}; use a whole number, or {word}.") from None


def named(**values: Any) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _file_text(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name} names {path}, which cannot be read: {error}.") from None
