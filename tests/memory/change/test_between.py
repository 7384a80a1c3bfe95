"""Rows move to another model between any two statements of one question, and all is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.memory import arms
from aegis.memory.store import search
from tests.memory.change.conftest import WordEmbedder, client, remember
from tests.memory.change.test_moving import by_the_graph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.db import Database
    from aegis.memory import Memory

#: Each statement of a question, by its mode, before which the rows move.
STATEMENTS = [
    ("hybrid", "read_question"),
    ("hybrid", "find_worded"),
    ("hybrid", "find_near"),
    ("hybrid", "describe"),
    ("hybrid", "list_by_ids"),
    ("vector", "read_question"),
    ("vector", "find_nearest"),
    ("vector", "list_by_ids"),
]


def interrupt(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    move: Callable[[], Awaitable[object]],
) -> list[str]:
    """Let `move` run to its end before each call of a statement; return the calls."""
    original = getattr(search, name)
    calls: list[str] = []

    async def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        await move()
        return await original(*args, **kwargs)

    monkeypatch.setattr(search, name, interrupted)
    return calls


@pytest.mark.parametrize("graph", [False, True], ids=["exact", "graph"])
@pytest.mark.parametrize(("mode", "name"), STATEMENTS)
async def test_a_batch_that_moves_within_a_question_hides_nothing(
    db: Database,
    both: Memory,
    old: WordEmbedder,
    new: WordEmbedder,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    name: str,
    graph: bool,
) -> None:
    texts = await remember(both, 12)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    if graph:
        monkeypatch.setattr(arms, "_approximate", by_the_graph)
    worker = client(db, old, new)

    async def move() -> None:
        # A third of the rows, and the round after the last one drops what is beside them.
        await worker.models.work(limit=4)

    with monkeypatch.context() as patch:
        calls = interrupt(patch, name, move)
        for text in texts:
            hits = await both.recall(text, mode=mode, k=3)
            assert hits[0].episode.summary == text
            assert hits.warnings == []
        assert len(calls) >= len(texts)
    for text in texts:
        assert (await both.recall(text, mode=mode, k=1))[0].episode.summary == text
