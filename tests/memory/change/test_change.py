"""A change of model step by step: figures, pauses, two workers, refusals, the way back."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from aegis.errors import ConfigError, Conflict, InvalidInput, Unavailable
from aegis.memory.change import work as working
from aegis.memory.change.indexes import spare_index_name
from aegis.memory.change.work import Pauses
from aegis.memory.indexing import index_name
from tests.memory.change.conftest import WordEmbedder, client, found, remember

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


async def value(db: Database, sql: str) -> object:
    async with db.transaction() as conn:
        cursor = await conn.execute(sql)  # pyright: ignore[reportArgumentType, reportCallIssue]
        row = await cursor.fetchone()
        return None if row is None else row[0]


async def test_a_change_ends_with_one_space_and_nothing_beside_it(
    db: Database, both: Memory, new: WordEmbedder
) -> None:
    texts = await remember(both, 12)
    await both.facts.record("alpha", "beta gamma")
    await both.models.begin()
    assert (await both.models.fill()).phase == "ready"
    assert len(new.asked) == 13 + 1  # every text once, and one to try whether it answers
    await both.models.switch()
    assert await found(both, texts)
    assert (await both.models.status()).phase == "moving"
    assert (await both.facts.recall("alpha: beta gamma"))[0].similarity > 0.9
    await both.models.work()
    assert (await both.models.status()).phase == "switched"
    assert await found(both, texts)
    assert (await both.models.finish()).phase == "none"
    assert await found(both, texts)
    assert (await both.facts.recall("alpha: beta gamma"))[0].similarity > 0.9
    listed = {m.model: (m.state, m.episodes, m.facts) for m in await both.models.list()}
    assert listed == {"new-model": ("active", 12, 1), "old-model": ("retired", 0, 0)}
    assert await value(db, "SELECT count(*) FROM episodic_vectors") == 0
    assert await value(db, "SELECT count(*) FROM semantic_vectors") == 0


async def test_the_plan_counts_texts_tokens_money_time_and_room(
    both: Memory, new: WordEmbedder
) -> None:
    texts = await remember(both, 130)
    new.usd_per_million_tokens = 0.02  # pyright: ignore[reportAttributeAccessIssue]
    new.requests_per_minute = 4  # pyright: ignore[reportAttributeAccessIssue]
    plan = await both.models.plan()
    assert (plan.texts, plan.episodes, plan.facts, plan.requests) == (130, 130, 0, 2)
    assert plan.characters == sum(map(len, texts))
    assert 130 <= plan.tokens <= plan.characters
    assert plan.cost_usd == (plan.tokens * Decimal("0.02") / 1_000_000).quantize(Decimal("1e-6"))
    assert plan.minutes_at_least == 0.5
    assert plan.bytes > 130 * 4 * new.dimensions
    assert not new.asked  # a plan costs nothing
    assert (await both.models.status()).phase == "none"


async def test_without_a_price_the_plan_names_no_cost(both: Memory) -> None:
    await remember(both, 1)
    plan = await both.models.plan()
    assert (plan.cost_usd, plan.minutes_at_least) == (None, None)


async def test_a_pause_holds_between_batches_and_a_change_goes_on_where_it_stopped(
    both: Memory, new: WordEmbedder
) -> None:
    await remember(both, 10)
    await both.models.begin()
    await both.models.work(limit=4)
    assert (await both.models.pause()).phase == "paused"
    assert (await both.models.work()).rows == 0
    assert (await both.models.status()).remaining == 6
    assert (await both.models.resume()).phase == "filling"
    new.asked.clear()
    assert (await both.models.fill()).phase == "ready"
    assert len(new.asked) == 6


async def test_a_cancelled_change_leaves_nothing_and_can_begin_again(
    db: Database, both: Memory, old: WordEmbedder
) -> None:
    texts = await remember(both, 5)
    await both.models.begin()
    await both.models.work(limit=3)
    assert (await both.models.cancel()).phase == "none"
    assert await value(db, "SELECT count(*) FROM episodic_vectors") == 0
    assert await found(both, texts)
    assert {h.episode.embedding_model for h in await both.recall(texts[0])} == {old.model}
    assert (await both.models.begin()).phase == "filling"


async def test_after_the_switch_cancel_goes_back_without_embedding_again(
    both: Memory, old: WordEmbedder
) -> None:
    texts = await remember(both, 8)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    await both.models.work()
    texts.append((await both.record("note", "recorded after the switch")).summary)
    old.asked.clear()
    status = await both.models.cancel()
    assert (status.active, status.other) == ("old-model", "new-model")
    assert "recorded after the switch" in old.asked
    assert await found(both, texts)
    await both.models.work()
    assert len([t for t in old.asked if t.startswith("memory")]) == 8  # asked by `found` alone
    assert (await both.models.status()).phase in ("paused", "ready")
    await both.models.resume()
    await both.models.fill()
    await both.models.switch()
    assert await found(both, texts)


async def test_two_workers_embed_no_text_twice(
    db: Database, both: Memory, old: WordEmbedder, new: WordEmbedder
) -> None:
    await remember(both, 300)
    await both.models.begin()
    new.asked.clear()
    other = client(db, old, new)
    rounds = [m.models.work(limit=50) for m in (both, other) for _ in range(8)]
    done = await asyncio.gather(*rounds)
    while (await both.models.status()).remaining:
        await asyncio.gather(both.models.work(), other.models.work())
    assert sorted(new.asked) == sorted(set(new.asked))
    assert len(new.asked) == 300
    assert any(worked.busy for worked in done)


async def test_a_text_changed_while_it_was_embedded_is_done_again(
    both: Memory, new: WordEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = await both.record("note", "first words")
    await both.models.begin()
    embed = new.embed

    async def slowly(texts: list[str]) -> object:
        vectors = await embed(texts)
        monkeypatch.setattr(new, "embed", embed)
        await both.update(episode.id, summary="second thoughts")
        return vectors

    monkeypatch.setattr(new, "embed", slowly)
    assert (await both.models.work()).embedded == 0
    assert (await both.models.fill()).phase == "ready"
    assert new.asked[-1] == "second thoughts"


async def test_a_text_changed_after_it_was_embedded_is_done_again(
    both: Memory, new: WordEmbedder
) -> None:
    episode = await both.record("note", "first words")
    fact = await both.facts.record("topic", "first content")
    await both.models.begin()
    await both.models.fill()
    await both.update(episode.id, summary="second thoughts")
    await both.facts.update(fact.id, content="second content")
    assert (await both.models.status()).remaining == 2
    await both.models.fill()
    assert sorted(new.asked[-2:]) == ["second thoughts", "topic: second content"]


async def test_a_switch_is_refused_while_vectors_are_missing(both: Memory) -> None:
    await remember(both, 5)
    await both.models.begin()
    await both.models.pause()
    with pytest.raises(Conflict, match="5 of 5 memories have no vector") as caught:
        await both.models.switch()
    assert caught.value.code == "change_refused"
    await both.models.switch(force=True)
    assert (await both.models.status()).active == "new-model"


async def test_a_switch_to_a_model_that_finds_less_is_refused_unless_forced(
    both: Memory, new: WordEmbedder
) -> None:
    await remember(both, 60)
    new.blind = True
    await both.models.begin()
    await both.models.fill()
    check = await both.models.check(samples=40)
    assert check.source is not None
    assert check.source.recall is not None
    assert check.target.recall is not None
    assert check.source.recall > 0.4 > check.target.recall
    assert check.samples > 15
    assert check.missing == 0
    with pytest.raises(Conflict, match=r"new-model finds \d+ of \d+"):
        await both.models.switch(samples=40)
    assert (await both.models.status()).active == "old-model"
    await both.models.switch(samples=40, force=True)
    assert (await both.models.status()).active == "new-model"


async def test_what_cannot_be_compared_is_not_switched_to(both: Memory, old: WordEmbedder) -> None:
    await remember(both, 5)
    await both.models.begin()
    await both.models.fill()
    old.away = True
    with pytest.raises(Conflict, match="old-model does not answer"):
        await both.models.switch()
    await both.models.switch(force=True)  # its provider may be gone for good


async def test_a_refused_text_stops_no_other(both: Memory, new: WordEmbedder) -> None:
    texts = await remember(both, 20)
    new.poison = texts[7]
    await both.models.begin()
    status = await both.models.fill()
    assert (status.phase, status.remaining) == ("filling", 1)
    with pytest.raises(Conflict, match="1 of 20 memories"):
        await both.models.switch()


async def test_an_embedder_that_is_away_loses_nothing(both: Memory, new: WordEmbedder) -> None:
    await remember(both, 5)
    await both.models.begin()
    new.away = True
    with pytest.raises(Unavailable):
        await both.models.work()
    new.away = False
    assert (await both.models.fill()).phase == "ready"


async def test_a_target_that_does_not_answer_is_not_begun_with(
    both: Memory, new: WordEmbedder
) -> None:
    await remember(both, 1)
    new.away = True
    with pytest.raises(Unavailable):
        await both.models.begin()
    assert (await both.models.status()).phase == "none"


async def test_one_change_at_a_time(db: Database, both: Memory, old: WordEmbedder) -> None:
    await remember(both, 1)
    with pytest.raises(InvalidInput, match="active model already"):
        await both.models.begin(old)
    await both.models.begin()
    third = WordEmbedder("third-model", 8)
    with pytest.raises(Conflict, match="A change to new-model is under way"):
        await client(db, old, third).models.begin()
    with pytest.raises(Conflict, match="was not switched"):
        await both.models.finish()
    await both.models.cancel()
    for step in (both.models.pause, both.models.switch, both.models.cancel, both.models.finish):
        with pytest.raises(Conflict, match="No change of the embedding model"):
            await step()
    with pytest.raises(ConfigError, match="AEGIS_NEXT_EMBEDDER"):
        await client(db, old).models.begin()


async def test_rows_wait_until_every_process_has_noticed(both: Memory) -> None:
    await remember(both, 3)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    both.models._pauses = Pauses(move_s=3600.0, settle_s=3600.0)  # pyright: ignore
    assert (await both.models.work()).moved == 0
    both.models._pauses = Pauses(move_s=0.0, settle_s=3600.0)  # pyright: ignore
    assert (await both.models.work()).moved == 3
    assert (await both.models.status()).mixed
    with pytest.raises(Conflict, match="still being moved"):
        await both.models.finish()


async def test_a_process_that_has_not_noticed_still_finds_everything(
    db: Database, both: Memory, old: WordEmbedder, new: WordEmbedder
) -> None:
    texts = await remember(both, 6)
    late = client(db, old, new)
    late.embedder._fresh_s = 1e9  # pyright: ignore
    assert await found(late, texts)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    assert await found(late, texts)  # nothing moves before it notices
    text = (await late.record("note", "written late")).summary
    assert await found(both, [*texts, text])
    await both.models.work()
    assert await found(both, [*texts, text])
    assert (await both.recall(text, k=1))[0].episode.embedding_model == "new-model"


async def test_indexes_are_there_at_the_switch_and_go_with_the_model(
    db: Database, both: Memory
) -> None:
    await remember(both, 3)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    names = "SELECT array_agg(indexrelid::regclass::text) FROM pg_index WHERE indisvalid"
    built = await value(db, names)
    assert isinstance(built, list)
    half = await value(db, "SELECT to_regtype('halfvec') IS NOT NULL")
    assert half == (spare_index_name("new-model") in built)
    # Rows that move are in no graph one by one; theirs is built when they have moved.
    assert index_name("episodic_memory", "new-model") not in built
    await both.models.work()
    moved = await value(db, names)
    assert isinstance(moved, list)
    assert half == (index_name("episodic_memory", "new-model") in moved)
    assert await value(db, "SELECT count(*) FROM episodic_vectors") == 6
    # The next round drops what nobody searches any more: the vectors of the model before stay.
    assert (await both.models.work()).dropped == 3
    left = await value(db, names)
    assert isinstance(left, list)
    assert spare_index_name("new-model") not in left
    assert await value(db, "SELECT array_agg(DISTINCT model) FROM episodic_vectors") == [
        "old-model"
    ]


async def test_what_is_undone_after_a_change_gets_a_vector_of_the_new_model(
    both: Memory, old: WordEmbedder
) -> None:
    fact = await both.facts.record("capital", "It is Bonn.")
    await both.facts.update(fact.id, content="It is Berlin.")
    gone = await both.facts.record("river", "It is the Rhine.")
    await both.facts.delete(gone.id)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    await both.models.work()
    await both.models.finish()
    for row in (fact.id, gone.id):
        back = await both.facts.undo(row)
        assert back is not None
        assert back.embedding_model != old.model
    assert await both.backfill() == 2


async def test_what_a_sleeping_process_records_with_a_retired_model_is_embedded_again(
    both: Memory, old: WordEmbedder
) -> None:
    await remember(both, 2)
    await both.models.begin()
    await both.models.fill()
    await both.models.switch()
    await both.models.work()
    await both.models.finish()
    vector = [float(x) for x in (await old.embed(["woke up late"]))[0]]
    await both.record("note", "woke up late", embedding=vector, embedding_model=old.model)
    assert (await both.models.work()).dropped == 1
    assert await both.backfill() == 1
    assert await found(both, ["woke up late"])


async def test_another_worker_is_not_waited_for(db: Database, both: Memory) -> None:
    await remember(both, 3)
    await both.models.begin()
    async with working.holding_lock(db, wait_s=0.0):
        assert (await both.models.work()).busy
    assert (await both.models.work()).embedded == 3
