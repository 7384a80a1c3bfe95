"""Progress of long work, on standard error and on a terminal only."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["counting", "working"]


@contextmanager
def counting(what: str, total: int | None = None) -> Generator[Callable[..., None]]:
    """Yield a function that is told how many have been done so far."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=total)

        def show(done: int, of: int | None = total) -> None:
            bar.update(task, completed=done, total=of)

        yield show


@contextmanager
def working(what: str) -> Generator[None]:
    """Show that something of unknown length is going on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
