"""Rows that move to the new model: vectors beside all of them, one index, copies that go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.memory import arms
from aegis.memory.change import work as working
from aegis.memory.change.work import Pauses
from tests.memory.change.conftest import WordEmbedder, found, remember
from tests.memory.change.test_change import value

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory
    from aegis.memory.store.search import QuestionFacts

pytestmark = pytest.mark.servers("18", "16")


def by_the_graph(facts: QuestionFacts, _asked: object) -> bool:
    """Say of every namespace that it is large, as far as pgvector searches such ones."""
    return facts.iterative


async def test_vectors_stay_beside_the_rows_while_a_process_may_search_there(
    db: Database, both: Memory
) -> None:
    await remember(both, 3)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    # A process that looks at the registry every few seconds may not know that rows have moved.
    both.models._pauses = Pauses(move_s=0.0, settle_s=0.0, leave_s=3600.0)  # pyright: ignore
    await both.models.work()
    assert (await both.models.status()).phase == "switched"
    await both.record("note", "recorded after the last row has moved")
    assert await value(db, "SELECT count(*) FROM episodic_vectors WHERE model = 'new-model'") == 4
    assert (await both.models.work()).dropped == 0
    await both.models.finish()
    assert await value(db, "SELECT array_agg(DISTINCT model) FROM episodic_vectors") == [
        "new-model"
    ]
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE embedding_models SET beside_until = now() WHERE state = 'active'"
        )
    await both.models.work()
    assert await value(db, "SELECT count(*) FROM episodic_vectors") == 0


async def test_what_carried_the_new_model_before_the_change_is_found_after_the_switch(
    db: Database, both: Memory, new: WordEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember(both, 3)
    vector = [float(x) for x in (await new.embed(["brought along"]))[0]]
    await both.record("note", "brought along", embedding=vector, embedding_model=new.model)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch(force=True)
    # As in a large namespace: by the graph, beside the rows.
    monkeypatch.setattr(arms, "_approximate", by_the_graph)
    assert await found(both, ["brought along"])
    assert await value(db, "SELECT count(*) FROM episodic_vectors WHERE model = 'new-model'") == 4


async def test_a_round_that_was_killed_before_the_index_of_rows_was_built_is_gone_on_with(
    db: Database, both: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = await remember(both, 4)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()

    async def killed(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(working, "build_index_of_rows", killed)
        with pytest.raises(ConnectionError):
            await both.models.work()
    assert (await both.models.status()).phase == "moving"
    assert await found(both, texts)
    await both.models.work()
    assert (await both.models.status()).phase == "switched"
