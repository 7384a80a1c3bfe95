"""Gemini's events of an interaction, followed for a while.

They say when something happens, and what came of it is read by a GET, which has the usage, too: a
stream is cut off after some minutes, and its last event may lack it. Each event has an id, from
which a later stream goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.research.providers.events import lines
from aegis.research.reading import mapping, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Following"]

#: What is kept of an id to go on from.
_MOST_ID: Final = 500
_OPEN: Final = frozenset({"queued", "in_progress"})


@dataclass(slots=True)
class Following:
    """What a stream has told so far; it stays true when the stream breaks off."""

    #: To go on from.
    last_event_id: str | None = None
    events: int = 0
    #: The interaction goes on no longer, or its stream does not: what there is, is read.
    ended: bool = False

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Take in events until the interaction or its stream ends."""
        async for line in lines(chunks, "Gemini"):
            if line.startswith(b"id:"):
                self._note(line[3:].strip().decode(errors="replace"))
            elif line.startswith(b"data:"):
                self._take(line[5:].strip())
            if self.ended:
                return

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.ended = True
            return
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            # What cannot be read says that something happened.
            self.ended = True
            return
        event = cast("dict[str, Any]", value)
        self.events += 1
        self._note(text(event.get("event_id")))
        kind = event.get("event_type")
        status = event.get("status") or mapping(event.get("interaction")).get("status")
        told = kind == "interaction.status_update" and status not in _OPEN
        self.ended = told or kind in ("interaction.completed", "error")

    def _note(self, event_id: str | None) -> None:
        if event_id and len(event_id) <= _MOST_ID and event_id.isprintable():
            self.last_event_id = event_id
