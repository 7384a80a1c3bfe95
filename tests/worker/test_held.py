"""What a worker holds: room for kinds, counts of keys."""

from __future__ import annotations

import asyncio

from aegis.db.lease import Claim
from aegis.worker.held import Held, Holding


def test_room_is_kept_for_claims_under_way() -> None:
    held = Held(["a", "b"], concurrency=3, per_kind={"b": 1}, per_key={})
    assert held.take_room("a") == 2
    assert held.take_room("a") == 0
    assert held.take_room("b") == 1
    assert held.take_room("b") == 0
    held.give_room("a", 2)
    assert held.take_room("a") == 2


def test_with_fewer_places_than_kinds_the_first_that_asks_has_one() -> None:
    held = Held(["a", "b", "c"], concurrency=1, per_kind={}, per_key={})
    assert [held.take_room(name) for name in "abc"] == [1, 0, 0]
    held.give_room("a", 1)
    assert held.take_room("c") == 1


async def test_keys_are_counted_and_forgotten() -> None:
    held = Held(["a"], concurrency=9, per_kind={}, per_key={"a": 1})
    task = asyncio.create_task(asyncio.sleep(0))
    claim = Claim(kind="a", id="1", token=1, key="k")
    holding = Holding(claim=claim, task=task, renewed=0.0)
    assert held.admits(claim)
    held.add(holding)
    assert (held.full_keys("a"), held.admits(claim), held.count()) == (["k"], False, 1)
    held.remove(holding)
    assert (held.full_keys("a"), held.admits(claim), held.count()) == ([], True, 0)
    await task
