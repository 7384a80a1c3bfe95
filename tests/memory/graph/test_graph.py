"""The graph over real memories: what is written, what is found, what follows a deletion."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory.graph.models import NodeRef

if TYPE_CHECKING:
    from aegis.memory import Memory

MAY = datetime(2026, 5, 1, tzinfo=UTC)


async def note(memory: Memory, text: str = "a note", **more: Any) -> int:
    return (await memory.record("note", text, timestamp=more.pop("timestamp", MAY), **more)).id


async def names(memory: Memory, **more: Any) -> set[str]:
    return {f"{e.kind}:{e.name}" for e in await memory.graph.entities(**more)}


async def around(memory: Memory, node: Any, **more: Any) -> set[str]:
    found = await memory.graph.neighbours(node, **more)
    return {f"{n.kind}:{n.id}" for n in found.nodes if n.depth > 0}


async def test_build_finds_who_and_what_a_memory_names(plain_memory: Memory) -> None:
    one = await note(plain_memory, "Alice: fixed ABC-12 in src/app.py on db-1.internal")
    built = await plain_memory.graph.build()
    assert built.read == 1
    assert await names(plain_memory, of=one) == {
        "person:Alice",
        "ticket:ABC-12",
        "file:src/app.py",
        "host:db-1.internal",
    }
    assert (await plain_memory.graph.build()).read == 0


async def test_an_entity_leads_from_one_memory_to_another(plain_memory: Memory) -> None:
    one = await note(plain_memory, "ABC-12 is open")
    two = await note(plain_memory, "closed ABC-12")
    other = await note(plain_memory, "lunch")
    await plain_memory.graph.build()
    way = await plain_memory.graph.path(one, two)
    assert [(n.kind, n.id) for n in (way.nodes[0], way.nodes[-1])] == [
        ("episode", one),
        ("episode", two),
    ]
    assert [n.label for n in way.nodes][1] == "ABC-12"
    assert [r.type for r in way.relations] == ["mentions", "mentions"]
    assert (await plain_memory.graph.path(one, other)).nodes == ()
    assert await around(plain_memory, "ticket:abc-12") == {f"episode:{one}", f"episode:{two}"}


async def test_changed_text_is_read_again_and_what_it_no_longer_says_goes(
    plain_memory: Memory,
) -> None:
    one = await note(plain_memory, "see ABC-12")
    await plain_memory.graph.build()
    await plain_memory.update(one, summary="see XYZ-3")
    built = await plain_memory.graph.build()
    assert (built.read, built.added, built.removed) == (1, 1, 1)
    assert await names(plain_memory) == {"ticket:XYZ-3"}


async def test_a_full_name_counts_once_it_recurs(plain_memory: Memory) -> None:
    one = await note(plain_memory, "Had lunch with Maria Garcia today")
    await plain_memory.graph.build()
    assert await names(plain_memory) == set()
    two = await note(plain_memory, "Maria Garcia called back")
    await plain_memory.graph.build()
    assert await around(plain_memory, "person:maria garcia") == {f"episode:{one}", f"episode:{two}"}


async def test_namespaces_never_meet(plain_memory: Memory) -> None:
    one = await note(plain_memory, "see ABC-12", namespace="a")
    await note(plain_memory, "see ABC-12", namespace="b")
    await plain_memory.graph.build()
    assert await around(plain_memory, "ticket:ABC-12", namespace="a") == {f"episode:{one}"}
    with pytest.raises(NotFound):
        await plain_memory.graph.neighbours(one, namespace="b")
    with pytest.raises(NotFound):
        await plain_memory.graph.relate(one, "person:Bob", namespace="b")


async def test_deleting_a_memory_leaves_no_trace_of_what_it_alone_named(
    plain_memory: Memory,
) -> None:
    one = await note(plain_memory, "Mail bob@example.com about ABC-12")
    two = await note(plain_memory, "ABC-12 again")
    await plain_memory.graph.build()
    await plain_memory.delete(one)
    assert await names(plain_memory) == {"ticket:ABC-12"}
    assert [e.mentions for e in await plain_memory.graph.entities()] == [1]
    assert await around(plain_memory, "ticket:ABC-12") == {f"episode:{two}"}


async def test_facts_are_read_and_their_mentions_end_with_them(plain_memory: Memory) -> None:
    first = await plain_memory.facts.record("owner", "ABC-12 belongs to @bob", valid_from=MAY)
    await plain_memory.graph.build()
    assert await around(plain_memory, f"fact:{first.id}") == {"entity:1", "entity:2"}
    june = MAY + timedelta(days=31)
    await plain_memory.facts.record("owner", "ABC-12 belongs to @eve", valid_from=june)
    await plain_memory.graph.build()
    assert await around(plain_memory, f"fact:{first.id}") == set()
    then = MAY + timedelta(days=1)
    assert await around(plain_memory, f"fact:{first.id}", as_of=then) == {"entity:1", "entity:2"}


async def test_relating_twice_is_one_relation(plain_memory: Memory) -> None:
    one = await note(plain_memory)
    made = await plain_memory.graph.relate(one, "person:Bob", "Works on", weight=0.5)
    again = await plain_memory.graph.relate(one, "person:bob", "works_on", weight=0.9)
    assert (made.id, made.type) == (again.id, "works_on")
    assert again.weight == pytest.approx(0.9)
    assert [e.degree for e in await plain_memory.graph.entities()] == [1]


async def test_as_of_a_day_shows_what_held_then(plain_memory: Memory) -> None:
    one = await note(plain_memory)
    june = MAY + timedelta(days=31)
    await plain_memory.graph.relate(one, "person:Bob", valid_from=MAY, valid_to=june)
    await plain_memory.graph.relate(one, "person:Eve", valid_from=june)
    entities = {e.name: f"entity:{e.id}" for e in await plain_memory.graph.entities()}
    bob, eve = entities["Bob"], entities["Eve"]
    assert await around(plain_memory, one) == {eve}
    assert await around(plain_memory, one, as_of=MAY) == {bob}
    assert await around(plain_memory, one, as_of=june) == {eve}
    assert await around(plain_memory, one, as_of=MAY - timedelta(days=1)) == set()


async def test_unrelate_ends_a_relation_and_says_where_there_is_none(plain_memory: Memory) -> None:
    one, two = await note(plain_memory), await note(plain_memory)
    await plain_memory.graph.relate(one, two, "caused")
    (ended,) = await plain_memory.graph.unrelate(one, two)
    assert ended.valid_to is not None
    assert await around(plain_memory, one) == set()
    with pytest.raises(NotFound, match="no relation 'caused' without an end"):
        await plain_memory.graph.unrelate(one, two, "caused")


async def test_what_somebody_ended_is_not_found_again_by_a_rule(plain_memory: Memory) -> None:
    one = await note(plain_memory, "see ABC-12")
    await plain_memory.graph.build()
    await plain_memory.graph.unrelate(one, "ticket:ABC-12")
    await plain_memory.graph.build(again=True)
    assert await around(plain_memory, one) == set()


@pytest.mark.parametrize(
    "call",
    [
        {"source": "episode:0", "target": 1},
        {"source": "person:", "target": 1},
        {"source": "dog:Rex", "target": 1},
        {"source": "person:!!!", "target": 1},
        {"source": True, "target": 1},
        {"source": 1, "target": 1},
        {"source": 1, "target": "person:x", "type": "1st"},
        {"source": 1, "target": "person:x", "type": "x; DROP TABLE y"},
        {"source": 1, "target": "person:x", "weight": 1.5},
        {"source": 1, "target": "person:x", "weight": float("nan")},
        {"source": 1, "target": "person:x", "valid_from": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"source": 1, "target": "person:x", "valid_from": MAY, "valid_to": MAY - timedelta(1)},
    ],
)
async def test_relation_that_makes_no_sense_is_refused(
    plain_memory: Memory, call: dict[str, Any]
) -> None:
    await note(plain_memory)
    with pytest.raises(InvalidInput):
        await plain_memory.graph.relate(**call)
    assert await names(plain_memory) == set()


async def test_search_is_bounded_and_says_so(plain_memory: Memory) -> None:
    hub = await note(plain_memory)
    for number in range(30):
        await plain_memory.graph.relate(hub, f"person:p{number}", weight=number / 100)
    found = await plain_memory.graph.neighbours(hub, width=10)
    assert (len(found.nodes), found.truncated) == (11, True)
    assert {n.label for n in found.nodes[1:]} == {f"p{n}" for n in range(20, 30)}
    whole = await plain_memory.graph.neighbours(hub, width=30)
    assert (len(whole.nodes), whole.truncated) == (31, False)
    assert (await plain_memory.graph.neighbours(hub, width=30, limit=5)).truncated
    bounds: list[dict[str, Any]] = [
        {"depth": 6},
        {"width": 0},
        {"limit": 10_000},
        {"direction": "up"},
    ]
    for wrong in bounds:
        with pytest.raises(InvalidInput):
            await plain_memory.graph.neighbours(hub, **wrong)


async def test_circles_end(plain_memory: Memory) -> None:
    ids = [await note(plain_memory, f"n{n}") for n in range(5)]
    for here, there in zip(ids, [*ids[1:], ids[0]], strict=True):
        await plain_memory.graph.relate(here, there)
    found = await plain_memory.graph.neighbours(ids[0], depth=5)
    assert {n.id: n.depth for n in found.nodes} == dict(zip(ids, [0, 1, 2, 2, 1], strict=True))
    assert len(found.relations) == 5
    assert await around(plain_memory, ids[0], direction="out") == {f"episode:{ids[1]}"}
    assert await around(plain_memory, ids[0], direction="in") == {f"episode:{ids[4]}"}


async def test_path_is_a_shortest_one_within_its_bound(plain_memory: Memory) -> None:
    ids = [await note(plain_memory, f"n{n}") for n in range(9)]
    for here, there in itertools.pairwise(ids):
        await plain_memory.graph.relate(here, there)
    for length in range(1, 8):
        way = await plain_memory.graph.path(ids[0], ids[length], max_depth=length)
        assert [n.id for n in way.nodes] == ids[: length + 1]
        assert len(way.relations) == length
        if length > 1:
            short = await plain_memory.graph.path(ids[0], ids[length], max_depth=length - 1)
            assert short.nodes == ()
    await plain_memory.graph.relate(ids[7], ids[1], "shortcut")
    way = await plain_memory.graph.path(ids[0], ids[7])
    assert [n.id for n in way.nodes] == [ids[0], ids[1], ids[7]]
    itself = await plain_memory.graph.path(ids[0], ids[0])
    assert ([n.id for n in itself.nodes], itself.relations) == ([ids[0]], [])


async def test_merged_entities_are_one_and_can_be_two_again(plain_memory: Memory) -> None:
    one = await note(plain_memory, "@alice opened ABC-1")
    two = await note(plain_memory, "alice@example.com and @alice wrote")
    three = await note(plain_memory, "Alice Cooper: hello")
    await plain_memory.graph.build()
    before = {
        (e.kind, e.name, e.mentions, e.degree, *e.aliases)
        for e in await plain_memory.graph.entities()
    }
    await plain_memory.graph.relate("person:alice", "person:Alice Cooper", "same_as")
    merge = await plain_memory.graph.merge_entities("person:alice", "person:Alice Cooper")
    assert await around(plain_memory, "person:Alice Cooper", types=["mentions"]) == {
        f"episode:{n}" for n in (one, two, three)
    }
    (alice,) = await plain_memory.graph.entities(name="alice cooper")
    assert (alice.name, alice.mentions, alice.aliases) == ("@alice", 3, ["Alice Cooper"])
    # What is written under the old name is the new one's, until they are two again.
    four = await note(plain_memory, "Alice Cooper: bye")
    await plain_memory.graph.build()
    assert f"episode:{four}" in await around(plain_memory, "person:alice")
    done = await plain_memory.graph.undo_merge(merge.id)
    assert done.undone_at is not None
    await plain_memory.graph.build()
    await plain_memory.graph.unrelate("person:alice", "person:Alice Cooper")
    assert await around(plain_memory, "person:Alice Cooper") == {
        f"episode:{three}",
        f"episode:{four}",
    }
    assert await around(plain_memory, "person:alice") == {f"episode:{one}", f"episode:{two}"}
    await plain_memory.delete(four)
    after = {
        (e.kind, e.name, e.mentions, e.degree - (e.kind == "person"), *e.aliases)
        for e in await plain_memory.graph.entities()
    }
    assert after == before
    with pytest.raises(Conflict, match="undone already"):
        await plain_memory.graph.undo_merge(merge.id)


async def test_merges_are_undone_last_first(plain_memory: Memory) -> None:
    one = await note(plain_memory)
    for name in "abc":
        await plain_memory.graph.relate(one, f"person:{name}")
    first = await plain_memory.graph.merge_entities("person:b", "person:c")
    second = await plain_memory.graph.merge_entities("person:a", "person:b")
    assert [(e.name, e.degree) for e in await plain_memory.graph.entities()] == [("a", 1)]
    with pytest.raises(Conflict, match="later ones"):
        await plain_memory.graph.undo_merge(first.id)
    await plain_memory.graph.undo_merge(second.id)
    await plain_memory.graph.undo_merge(first.id)
    found = await plain_memory.graph.entities(order="name")
    assert [(e.name, e.degree, e.aliases) for e in found] == [
        ("a", 1, []),
        ("b", 1, []),
        ("c", 1, []),
    ]
    assert [m.id for m in await plain_memory.graph.merges()] == [second.id, first.id]


async def test_only_two_entities_are_merged(plain_memory: Memory) -> None:
    one = await note(plain_memory)
    await plain_memory.graph.relate(one, "person:a")
    for kept, merged in (("person:a", one), ("person:a", "person:A")):
        with pytest.raises(InvalidInput):
            await plain_memory.graph.merge_entities(kept, merged)
    with pytest.raises(NotFound):
        await plain_memory.graph.merge_entities("person:a", "person:nobody")


async def test_two_entities_related_to_each_other_alone_survive_merge_and_undo(
    plain_memory: Memory,
) -> None:
    await plain_memory.graph.relate("person:a", "person:b")
    merge = await plain_memory.graph.merge_entities("person:a", "person:b")
    assert await names(plain_memory) == {"person:a"}
    await plain_memory.graph.undo_merge(merge.id)
    assert await around(plain_memory, "person:a") == {f"entity:{merge.merged}"}


async def test_most_connected_come_first_and_pages_hold_all(plain_memory: Memory) -> None:
    for number in range(6):
        one = await note(plain_memory, f"n{number}")
        for person in range(number, 6):
            await plain_memory.graph.relate(one, f"person:p{person}")
    first = await plain_memory.graph.entities(limit=4)
    rest = await plain_memory.graph.entities(limit=4, offset=4)
    assert [e.name for e in (*first, *rest)] == ["p5", "p4", "p3", "p2", "p1", "p0"]
    assert [e.degree for e in first] == [6, 5, 4, 3]


async def test_node_is_named_in_many_ways(plain_memory: Memory) -> None:
    one = await note(plain_memory, "see ABC-1")
    await plain_memory.graph.build()
    for node in (one, str(one), f"episode:{one}", NodeRef(kind="episode", id=one)):
        assert (await plain_memory.graph.neighbours(node)).nodes[0].id == one
