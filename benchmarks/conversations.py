"""Conversations with evidence labels: reading the files, recording them, measuring an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aegis.memory.service import Memory

__all__ = ["CUTS", "Conversation", "Question", "read_conversations", "recall_at", "record"]

#: The k of recall@k.
CUTS = (5, 10, 20, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and the ids of the messages that answer it."""

    text: str
    evidence: frozenset[str]
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One file."""

    source: str
    name: str
    messages: Sequence[dict[str, Any]]
    questions: Sequence[Question]

    def episodes(self) -> list[NewEpisode]:
        """Return the messages as episodes in a namespace of the conversation's own."""
        return [
            NewEpisode(
                event_type="message",
                summary=f"{message['author']}: {message['text']}",
                timestamp=datetime.fromisoformat(message["time"]),
                namespace=self.name,
                session_id=str(message["session"]),
                source_id=str(message["id"]),
            )
            for message in self.messages
        ]


def read_conversations(folder: Path) -> list[Conversation]:
    """Return the conversations of every `*.json` file in `folder`.

    Raises:
        InvalidInput: there is none, or a file is not in the format.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InvalidInput(
            f"{folder} holds no *.json file; --data takes a folder of conversations."
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> Conversation:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {str(message["id"]) for message in raw["messages"]}
        questions = [
            Question(
                text=question["question"],
                evidence=frozenset(map(str, question["evidence"])) & known,
                category=str(question["category"]),
            )
            for question in raw["questions"]
        ]
        return Conversation(
            source=raw["source"],
            name=path.stem,
            messages=raw["messages"],
            questions=[question for question in questions if question.evidence],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not a conversation with labels: {error!r}.") from None


async def record(memory: Memory, conversation: Conversation) -> list[int]:
    """Record the messages in order and return the ids of the episodes."""
    recorded = await memory.record_many(conversation.episodes())
    return recorded.ids


def recall_at(answer: Sequence[str], evidence: frozenset[str]) -> dict[str, float]:
    """Return recall at each cut and the reciprocal rank of the first evidence."""
    figures = {
        f"recall_at_{cut}": len(evidence & set(answer[:cut])) / len(evidence) for cut in CUTS
    }
    first = next((place for place, key in enumerate(answer, 1) if key in evidence), None)
    return figures | {"mrr": 0.0 if first is None else 1 / first}
