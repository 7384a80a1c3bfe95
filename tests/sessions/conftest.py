"""What session tests share: the service on a database of its own, and transcripts to read."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import Memory
from aegis.sessions.payload import reduce_payload
from aegis.sessions.service import Sessions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database

START = datetime(2026, 5, 1, 9, tzinfo=UTC)
_keys = itertools.count()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep events for ever: what happens at `START` is older every day."""
    return replace(settings, session_events_keep_days=0)


def record(
    event: str, session_id: str = "s1", *, minute: float = 0, **given: Any
) -> dict[str, Any]:
    """Return what a hook keeps of an event, `minute` minutes after `START`."""
    raw = json.dumps({"session_id": session_id, "cwd": "/srv/shop", **given}).encode()
    at = (START + timedelta(minutes=minute)).timestamp()
    key = f"{next(_keys):032x}"
    return reduce_payload(raw, event, key=key, at=at, namespace="default", user="ada")


@dataclass
class Transcript:
    """A transcript that grows; every line a second after the one before."""

    path: Path
    session_id: str = "s1"
    seconds: Iterator[int] = field(default_factory=itertools.count)

    def add(self, kind: str, content: Any, **more: Any) -> None:
        second = next(self.seconds)
        message = {"role": kind, "content": content, **more.pop("message", {})}
        line = {
            "type": kind,
            "uuid": f"{self.session_id}-{second}",
            "sessionId": self.session_id,
            "timestamp": (START + timedelta(seconds=second)).isoformat(),
            "cwd": "/srv/shop",
            "message": message,
            **more,
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def answer(self, text: str, message_id: str, *, out: int = 10, **message: Any) -> None:
        usage = {
            "input_tokens": 100,
            "output_tokens": out,
            "cache_creation_input_tokens": 40,
            "cache_read_input_tokens": 1_000,
        }
        said = {"id": message_id, "model": "claude-sonnet-4-5", "usage": usage, **message}
        self.add("assistant", [{"type": "text", "text": text}], message=said)


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    return Transcript(tmp_path / "s1.jsonl")


@pytest.fixture
def plain_memory(db: Database) -> Memory:
    return Memory(db, None, namespace="default")


@pytest.fixture
def sessions(plain_memory: Memory) -> Sessions:
    return Sessions(plain_memory)
