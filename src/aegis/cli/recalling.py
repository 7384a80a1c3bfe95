"""Recall, from the process that serves or from the database; the same question and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.cli.served import ask

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["recall_episodes"]


def recall_episodes(settings: Settings, question: dict[str, Any]) -> Any:
    """Return `{"results": […]}` for the body of `POST /v1/memory/recall`."""
    answer = ask(settings, "/v1/memory/recall", question)
    return _direct(question) if answer is None else answer


def _direct(question: dict[str, Any]) -> Any:
    from aegis.cli.running import maybe_time, with_client
    from aegis.wire.plain import plain

    arguments: dict[str, Any] = question | {
        name: maybe_time(name, question[name]) for name in ("since", "until") if name in question
    }
    hits = with_client(lambda a: a.memory.recall(**arguments), namespace=question.get("namespace"))
    return {"results": plain(hits)}
