"""What people see: plain lines and tables, in colour on a terminal. What programs see: JSON.

Everything is rendered from the JSON form, so that an answer looks the same whichever way it came.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aegis.cli.exits import BROKEN_PIPE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = [
    "clip",
    "flat",
    "importance",
    "line",
    "note",
    "pairs",
    "show_json",
    "style",
    "table",
    "when",
    "width",
]

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
_IMPORTANCE = {"critical": "red", "high": "yellow", "low": "dim"}


def show_json(value: Any) -> None:
    """Write one JSON document."""
    from aegis.wire.plain import json_text

    line(json_text(value))


def line(text: str = "") -> None:
    """Write a line to standard output."""
    with _stdout():
        sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def style(text: str, *names: str) -> str:
    """Return `text` in a style, where standard output is a terminal that has styles."""
    if not names or not _colours():
        return text
    return f"\x1b[{';'.join(_STYLES[name] for name in names)}m{text}\x1b[0m"


def importance(value: str) -> str:
    """Return an importance in its colour."""
    colour = _IMPORTANCE.get(value)
    return style(value, colour) if colour else value


def when(text: str | None) -> str:
    """Return an ISO time to the minute, in UTC: `2026-05-01T09:00Z`."""
    if text is None:
        return ""
    return f"{text[:16]}Z" if text.endswith("+00:00") else text


def width() -> int:
    """Return how many columns there are to write in."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def clip(text: str, columns: int) -> str:
    """Return `text` on one line of at most `columns` characters."""
    text = flat(text)
    return text if len(text) <= columns else text[: max(columns - 1, 0)].rstrip() + "…"


def flat(text: str) -> str:
    """Return `text` on one line, its paragraphs set off by dashes."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return " — ".join(part for part in paragraphs if part)


def pairs(rows: Sequence[tuple[str, Any]]) -> None:
    """Write names and values below each other; what is absent is left out."""
    import json

    longest = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        if value is None or value == []:
            continue
        if isinstance(value, list) and all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
            text = ", ".join(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, dict | list):
            text = json.dumps(value, ensure_ascii=False)
        else:
            text = str(value)
        indent = "\n" + " " * (longest + 2)
        line(f"{style(name.ljust(longest), 'dim')}  {indent.join(text.splitlines())}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, wide: str, empty: str) -> None:
    """Write a table; `wide` is the column that takes what room is left, `empty` is for no rows."""
    if not rows:
        note(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=_on_terminal())
    for name in columns:
        if name == wide:
            drawn.add_column(name, ratio=1, overflow="fold", min_width=20)
        else:
            drawn.add_column(name, no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(cell, style=_cell_style(cell)) for cell in row))
    with _stdout():
        console = Console(
            file=sys.stdout,
            width=width() if _on_terminal() else 200,
            no_color=not _colours(),
            highlight=False,
        )
        console.print(drawn)


def _cell_style(cell: str) -> str:
    return _IMPORTANCE.get(cell, "")


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _colours() -> bool:
    return _on_terminal() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


@contextmanager
def _stdout() -> Generator[None]:
    """Write, and leave quietly if the reader has gone."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        import click

        # Python flushes once more at its end; that must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(BROKEN_PIPE) from None
