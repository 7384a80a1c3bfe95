"""Options that several commands have, so that they are named and explained alike."""

from __future__ import annotations

from typing import Annotated

from aegis.cli.command import Option

__all__ = [
    "AsJson",
    "Cursor",
    "ExpiresAt",
    "Importance",
    "Limit",
    "Namespace",
    "Since",
    "Tags",
    "Ttl",
    "Until",
    "Yes",
]

AsJson = Annotated[bool, Option("--json", help="One JSON document instead of text.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do it without asking.")]
Namespace = Annotated[
    str | None, Option(help="Whose memory; AEGIS_NAMESPACE or `default` otherwise.")
]
Limit = Annotated[int, Option("--limit", "-n", help="How many at most.")]
Cursor = Annotated[str | None, Option(help="`next_cursor` of the page before.")]
Tags = Annotated[list[str] | None, Option("--tag", "-t", help="A tag; may be repeated.")]
Importance = Annotated[str, Option(help="low, medium, high or critical.")]
Since = Annotated[str | None, Option(help="From this time on, such as 2026-05-01T00:00:00+00:00.")]
Until = Annotated[str | None, Option(help="Before this time.")]
Ttl = Annotated[str | None, Option(help="Forget it after this time, such as 30d.")]
ExpiresAt = Annotated[str | None, Option(help="Forget it at this time.")]
