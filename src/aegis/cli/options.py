"""Options that several commands have, so that they are named and explained alike."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Cursor", "Importance", "Limit", "Namespace", "Since", "Tags", "Until", "Yes"]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Namespace = Annotated[
    str | None, typer.Option(help="Whose memory; AEGIS_NAMESPACE or `default` otherwise.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", help="A tag; may be repeated.")]
Importance = Annotated[str, typer.Option(help="low, medium, high or critical.")]
Since = Annotated[
    str | None, typer.Option(help="From this time on, such as 2026-05-01T00:00:00+00:00.")
]
Until = Annotated[str | None, typer.Option(help="Before this time.")]
