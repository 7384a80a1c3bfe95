"""Recall and context, from the process that serves or from the database; the answer is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.cli.served import ask

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["context_block", "recall_episodes"]


def recall_episodes(settings: Settings, question: dict[str, Any]) -> Any:
    """Return `{"results": […], "warnings": […]}` for the body of `POST /v1/memory/recall`."""
    answer = ask(settings, "/v1/memory/recall", question)
    return _direct("recall", question) if answer is None else answer


def context_block(settings: Settings, question: dict[str, Any]) -> Any:
    """Return the block for the body of `POST /v1/memory/context`."""
    answer = ask(settings, "/v1/memory/context", question)
    return _direct("context", question) if answer is None else answer


def _direct(method: str, question: dict[str, Any]) -> Any:
    from aegis.cli.running import maybe_time, with_client
    from aegis.wire.plain import plain

    arguments: dict[str, Any] = question | {
        name: maybe_time(name, question[name])
        for name in ("since", "until", "asked_at")
        if name in question
    }
    found = with_client(
        lambda a: getattr(a.memory, method)(**arguments), namespace=question.get("namespace")
    )
    if method == "recall":
        return plain({"results": found, "warnings": found.warnings})
    return plain(found)
