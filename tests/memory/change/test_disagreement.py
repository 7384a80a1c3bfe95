"""A process whose settings name another model than the active one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.errors import ConfigError, Conflict
from tests.memory.change.conftest import WordEmbedder, client, found, remember

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory


async def test_a_process_of_another_model_says_so_and_splits_nothing(
    db: Database, both: Memory, new: WordEmbedder
) -> None:
    await remember(both, 3)
    stranger = client(db, new)
    episode = await stranger.record("note", "from a stranger")
    assert not episode.embedded
    hits = await stranger.recall("stranger", k=1)  # by words
    assert hits[0].episode.id == episode.id
    with pytest.raises(ConfigError, match="memory's embedding model is old-model") as caught:
        await stranger.recall("stranger", mode="vector")
    assert caught.value.code == "embedding_model_differs"
    with pytest.raises(ConfigError, match="old-model"):
        await stranger.backfill()
    assert (await stranger.models.status()).disagreement is not None
    assert await both.backfill() == 1
    assert await found(both, ["from a stranger"])


async def test_a_process_of_another_model_may_begin_the_change_to_it(
    db: Database, both: Memory, new: WordEmbedder
) -> None:
    await remember(both, 3)
    stranger = client(db, new)
    assert (await stranger.models.plan()).target == "new-model"
    await stranger.models.begin()
    assert (await stranger.models.fill()).phase == "ready"
    with pytest.raises(Conflict, match="old-model does not answer"):
        await stranger.models.switch()
    await stranger.models.switch(force=True)
    assert (await stranger.models.find_disagreement()) is None


async def test_a_model_that_no_row_carries_gives_way(db: Database, new: WordEmbedder) -> None:
    first = client(db, WordEmbedder("tried-once", 8))
    await first.recall("anything")
    second = client(db, new)
    assert (await second.record("note", "kept")).embedding_model == "new-model"
