"""Items on a real server: what is put comes back, stays apart, ends in time, and is found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput, NotFound, Unavailable
from aegis.memory import Memory
from aegis.memory.items import GetItem, ListPaths, PathMatch, PutItem, SearchItems

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

NUMBERS = [1, 1.0, 1e22, 1e23, 5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2, 10**40]
HOSTILE = [
    ".",
    "%",
    "_",
    "'",
    '"',
    "\\",
    "{}",
    "a,b",
    "a.b",
    "*",
    "NULL",
    "\x01",
    "ä😀",
    "$1",
    "%s",
]


@pytest.mark.parametrize("number", NUMBERS)
async def test_number_comes_back_as_it_was_put(plain_memory: Memory, number: float) -> None:
    items = plain_memory.items
    await items.put(["a"], "k", {"n": [number], "z": {"n": number}})
    item = await items.get(["a"], "k")
    assert repr(item.value) == repr({"n": [number], "z": {"n": number}})


async def test_text_comes_back_as_it_was_put(plain_memory: Memory) -> None:
    value = {"": "", "a\\u0000": "\\u0000 é \u2028 😀 \x7f", "b": None, "c": [True, [], {}]}
    await plain_memory.items.put(["a"], "k", value)
    assert (await plain_memory.items.get(["a"], "k")).value == value


async def test_hostile_labels_and_keys_name_themselves_and_nothing_else(
    plain_memory: Memory,
) -> None:
    items = plain_memory.items
    for label in HOSTILE:
        await items.put([label], label, {"is": label})
        await items.put(["x", label, "y"], label, {"is": label})
    for label in HOSTILE:
        assert (await items.get([label], label)).value == {"is": label}
        assert [h.item.value["is"] for h in await items.search([label])] == [label]
        assert [h.item.value["is"] for h in await items.search(["x", label])] == [label]
        found = await items.search(filter={"is": label}, limit=100)
        assert [h.item.key for h in found] == [label, label]
        if label != "*":
            assert await items.list_paths(prefix=["x", label]) == [("x", label, "y")]
            assert await items.list_paths(suffix=[label]) == [(label,)]
    assert len(await items.list_paths(prefix=["x", "*", "y"])) == len(HOSTILE)
    with pytest.raises(NotFound, match="no item 'k' at 'x'"):
        await items.get(["x"], "k")


async def test_items_of_namespaces_never_meet(plain_memory: Memory) -> None:
    items = plain_memory.items
    await items.put(["a"], "k", {"of": "one"}, namespace="one")
    await items.put(["a"], "k", {"of": "two"}, namespace="two")
    await items.delete(["a"], "k", namespace="default")
    assert (await items.get(["a"], "k", namespace="one")).value == {"of": "one"}
    assert [h.item.value for h in await items.search(namespace="two")] == [{"of": "two"}]
    assert await items.search() == []
    assert await items.list_paths() == []


async def test_batch_reads_before_it_puts_and_the_last_put_counts(plain_memory: Memory) -> None:
    items = plain_memory.items
    await items.put(["a"], "k", {"n": 0})
    get = GetItem(path=("a",), key="k")
    found = await items.batch(
        [
            PutItem(path=("a",), key="k", value={"n": 1}),
            get,
            PutItem(path=("a",), key="k", value=None),
            SearchItems(),
            ListPaths(matches=(PathMatch(kind="prefix", labels=()),)),
            PutItem(path=("a",), key="k", value={"n": 2}),
            PutItem(path=("b",), key="k", value={"n": 3}),
            get,
        ]
    )
    assert [found[n] for n in (0, 2, 5, 6)] == [None] * 4
    assert found[1] == found[7] and found[1].value == {"n": 0}
    assert [hit.item.value for hit in found[3]] == [{"n": 0}]
    assert found[4] == [("a",)]
    assert [hit.item.value for hit in await items.search()] == [{"n": 3}, {"n": 2}]


async def test_refused_operation_leaves_the_whole_batch_undone(plain_memory: Memory) -> None:
    good = PutItem(path=("a",), key="k", value={})
    with pytest.raises(InvalidInput):
        await plain_memory.items.batch([good, PutItem(path=("a",), key="x", value={"a": "\0"})])
    assert await plain_memory.items.search() == []


async def test_put_over_an_item_keeps_when_it_began(plain_memory: Memory) -> None:
    items = plain_memory.items
    await items.put(["a"], "k", {"n": 1})
    first = await items.get(["a"], "k")
    await items.put(["a"], "k", {"n": 2})
    second = await items.get(["a"], "k")
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


async def expire(db: Database, key: str) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE store_items SET expires_at = now() - interval '1 second' WHERE key = %(key)s",
            {"key": key},
        )


async def test_expired_item_is_left_out_swept_and_begins_anew(plain_memory: Memory) -> None:
    items, db = plain_memory.items, plain_memory.database
    for key in ("gone", "again"):
        await items.put(["t"], key, {"k": key}, ttl_minutes=1)
        await expire(db, key)
    await items.put(["t"], "stays", {"k": "stays"}, ttl_minutes=1)
    await items.put(["for ever"], "k", {})
    with pytest.raises(NotFound):
        await items.get(["t"], "gone")
    assert [h.item.key for h in await items.search(["t"])] == ["stays"]
    (kept,) = await items.batch(
        [GetItem(path=("t",), key="gone", refresh=False)], omit_expired=False
    )
    assert kept.value == {"k": "gone"}
    await items.put(["t"], "again", {"k": "new"}, ttl_minutes=1)
    again = await items.get(["t"], "again")
    assert again.created_at == again.updated_at > kept.created_at
    assert await items.sweep() == 1
    assert await items.sweep() == 0
    assert await items.list_paths() == [("for ever",), ("t",)]


async def test_reading_begins_the_life_anew_unless_told_not_to(plain_memory: Memory) -> None:
    items = plain_memory.items
    await items.put(["t"], "k", {}, ttl_minutes=10)
    first = await items.get(["t"], "k", refresh=False)
    assert first.expires_at is not None
    assert (await items.get(["t"], "k", refresh=False)).expires_at == first.expires_at
    await items.get(["t"], "k")
    second = await items.get(["t"], "k", refresh=False)
    await items.search(["t"], refresh=False)
    assert (await items.get(["t"], "k", refresh=False)).expires_at == second.expires_at
    await items.search(["t"])
    third = await items.get(["t"], "k", refresh=False)
    assert first.expires_at < second.expires_at < third.expires_at  # pyright: ignore


async def test_concurrent_batches_neither_deadlock_nor_mix(memory: Memory) -> None:
    items = memory.items

    def work(worker: int) -> list[Any]:
        order = range(12) if worker % 2 else range(11, -1, -1)
        texts = [(f"f{n}", f"worker {worker}") for n in range(1 + worker % 3)]
        return [
            PutItem(
                path=("p",),
                key=str(n),
                value=None if (n + worker) % 4 == 0 else {"w": worker},
                texts=texts,
                ttl_minutes=5,
            )
            for n in order
        ] + [GetItem(path=("p",), key=str(n)) for n in order]

    for _ in range(3):
        await asyncio.gather(*(items.batch(work(worker)) for worker in range(8)))
    async with memory.database.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT count(*), count(*) FILTER (WHERE v.fields <> 1 + (i.value ->> 'w')::int % 3)
            FROM store_items i
            CROSS JOIN LATERAL (SELECT count(*) AS fields FROM store_vectors v
                                WHERE v.item_id = i.id) v
            """
        )
        row: Any = await cursor.fetchone()
    assert row[0] > 0
    assert row[1] == 0


async def test_item_without_its_embedder_is_stored_and_found_by_meaning_later(
    db: Database, absent_embedder: Embedder, embedder: Embedder
) -> None:
    away = Memory(db, absent_embedder, namespace="default")
    await away.items.put(["a"], "k", {"t": "x"}, texts=[("t", "The cat sat on the mat.")])
    with pytest.raises(Unavailable):
        await away.items.search(query="cat")
    async with db.transaction() as conn:
        # As if the same embedder were back.
        await conn.execute(
            "UPDATE store_vectors SET embedding_model = %(model)s", {"model": embedder.model}
        )
    back = Memory(db, embedder, namespace="default")
    assert [h.score for h in await back.items.search(query="cat")] == [None]
    assert await back.backfill() == 1
    assert await back.backfill() == 0
    (hit,) = await back.items.search(query="Where is the cat?")
    assert hit.score is not None and hit.score > 0.4


async def test_remembered_item_is_recalled_follows_its_item_and_goes_with_it(
    memory: Memory,
) -> None:
    def put(value: Any, key: str = "k") -> PutItem:
        return PutItem(path=("users", "1"), key=key, value=value)

    await memory.items.batch([put({"text": "Ann lives in Berlin."})], remember=True)
    await memory.items.batch(
        [put({"text": "Ann lives in Oslo."}), put({"n": 1}, "n")], remember=True
    )
    hits = await memory.recall("Where does Ann live?")
    assert [hit.episode.summary for hit in hits] == ["Ann lives in Oslo.", '{"n":1}']
    assert hits[0].episode.metadata == {"namespace": ["users", "1"], "key": "k"}
    await memory.items.batch([put(None), put(None, "n")], remember=True)
    assert await memory.count() == 0


async def test_items_are_not_memories_unless_asked(memory: Memory) -> None:
    await memory.items.put(["a"], "k", {"text": "Ann lives in Berlin."})
    assert await memory.count() == 0
