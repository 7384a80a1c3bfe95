"""The store as LangGraph uses it: with and without `async`, from any thread, and its faults."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, PutOp, SearchOp

from aegis.errors import ConfigError, InvalidInput, Unavailable
from aegis.langgraph import AegisStore
from tests.langgraph_face.conftest import DIMS, HashEmbeddings

if TYPE_CHECKING:
    from aegis.config import Settings


def test_default_store_finds_by_meaning_without_configuration(store: AegisStore) -> None:
    store.put(("users", "1"), "a", {"text": "The cat sat on the mat."})
    store.put(("users", "1"), "b", {"text": "Invoices are due on Friday."})
    found = store.search(("users",), query="When must the bill be paid?")
    assert [item.key for item in found] == ["b", "a"]
    scores: list[Any] = [item.score for item in found]
    assert scores[0] > scores[1]
    item = store.get(("users", "1"), "b")
    assert item is not None
    assert item.value == {"text": "Invoices are due on Friday."}
    assert item.created_at.tzinfo is not None
    store.delete(("users", "1"), "b")
    assert store.get(("users", "1"), "b") is None


async def test_async_store_serves_its_loop_and_other_threads(dsn: str, settings: Settings) -> None:
    async with AegisStore.connect(dsn, settings=settings, index=False) as store:
        await asyncio.gather(*(store.aput(("a",), str(n), {"n": n}) for n in range(20)))
        assert len(await store.asearch(("a",), limit=50)) == 20
        item = await asyncio.to_thread(store.get, ("a",), "7")
        assert item is not None and item.value == {"n": 7}
        # In another loop, too.
        other = await asyncio.to_thread(lambda: asyncio.run(store.aget(("a",), "8")))
        assert other is not None and other.value == {"n": 8}
        with pytest.raises(asyncio.InvalidStateError, match="await the asynchronous form"):
            store.get(("a",), "7")
    with pytest.raises(Unavailable, match=r"closed|no requests"):
        await asyncio.to_thread(store.get, ("a",), "7")


async def test_sync_store_may_be_called_inside_a_running_loop(store: AegisStore) -> None:
    store.put(("a",), "k", {"n": 1})
    item = await store.aget(("a",), "k")
    assert item is not None and item.value == {"n": 1}
    assert store.list_namespaces() == await store.alist_namespaces() == [("a",)]


def test_closed_store_says_so(dsn: str, settings: Settings) -> None:
    with AegisStore.connect(dsn, settings=settings) as store:
        store.start_ttl_sweeper()
    with pytest.raises(Unavailable, match="closed; open it again"):
        store.get(("a",), "k")


def test_fields_lists_and_index_false_decide_what_is_embedded(make_store: Any) -> None:
    embed = HashEmbeddings()
    index: Any = {"dims": DIMS, "embed": embed, "fields": ["title", "parts[*].text"]}
    store = make_store(index=index)
    value = {"title": "T", "parts": [{"text": "one"}, {"text": "two"}], "other": "O"}
    store.put(("d",), "all", value)
    store.put(("d",), "other", value, index=["other"])
    store.put(("d",), "none", value, index=False)
    assert embed.calls == [["T", "one", "two"], ["O"]]

    def best(query: str) -> tuple[str, float | None]:
        item = store.search(("d",), query=query, limit=1)[0]
        return item.key, item.score and round(item.score, 5)

    assert best("two") == ("all", 1.0)
    assert best("O") == ("other", 1.0)
    found = store.search(("d",), query="one")
    assert [item.key for item in found] == ["all", "other", "none"]
    assert found[-1].score is None
    store.put(("d",), "all", {"title": "U"})
    assert best("two")[1] != 1.0


def test_dollar_means_the_whole_value(make_store: Any) -> None:
    embeddings = HashEmbeddings()
    store = make_store(index={"dims": DIMS, "embed": embeddings, "fields": ["text"]})
    store.put(("d",), "whole", {"n": 1e22, "b": ["x"]}, index=["$"])
    store.put(("d",), "text", {"text": "t"})
    said = json.dumps({"b": ["x"], "n": 1e22}, sort_keys=True)
    assert embeddings.calls[0] == [said]
    (first, second) = store.search(("d",), query=said)
    assert (first.key, second.key) == ("whole", "text")
    assert first.score == pytest.approx(1.0)


def test_text_that_is_there_twice_is_embedded_once(make_store: Any) -> None:
    embed = HashEmbeddings()
    store = make_store(index={"dims": DIMS, "embed": embed, "fields": ["t"]})
    store.batch([PutOp(("d",), str(n), {"t": "same"}) for n in range(5)])
    assert embed.calls == [["same"]]
    assert [item.score for item in store.search(("d",), query="same")] == pytest.approx([1.0] * 5)


def test_embedding_that_fails_or_does_not_fit_stores_nothing(make_store: Any) -> None:
    def broken(texts: Any) -> list[list[float]]:
        raise RuntimeError("away")

    def too_short(texts: Any) -> list[list[float]]:
        return [[1.0] for _ in texts]

    def too_few(texts: Any) -> list[list[float]]:
        return []

    store = make_store(index={"dims": 3, "embed": broken})
    with pytest.raises(RuntimeError, match="away"):
        store.put(("d",), "k", {"t": "x"})
    short = make_store(index={"dims": 3, "embed": too_short})
    with pytest.raises(InvalidInput, match="1 numbers; this model's vectors have 3"):
        short.put(("d",), "k", {"t": "x"})
    fewer = make_store(index={"dims": 1, "embed": too_few})
    with pytest.raises(Unavailable, match="0 vectors of 1 texts"):
        fewer.put(("d",), "k", {"t": "x"})
    assert [s.get(("d",), "k") for s in (store, short, fewer)] == [None] * 3


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"dims": 3, "embed": len, "distance_type": "l2"}, "distance_type 'l2'"),
        ({"embed": len}, "has dims None"),
        ({"dims": 7}, "makes vectors of 384"),
    ],
)
def test_index_that_does_not_fit_is_refused(make_store: Any, index: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_store(index=index)


def test_vectors_of_another_embedding_are_not_compared(make_store: Any, client: Any) -> None:
    def other(texts: Any) -> list[list[float]]:
        return [[1.0, 2.0] for _ in texts]

    first = make_store(index={"dims": DIMS, "embed": HashEmbeddings()})
    first.put(("d",), "k", {"t": "x"})
    second = AegisStore(client, namespace=first._namespace, index={"dims": 2, "embed": other})
    assert [item.score for item in second.search(("d",), query="x")] == [None]


@pytest.mark.parametrize("namespace", [(), ("a", ""), ("a.b",), ("langgraph", "x"), ("a\0",)])
def test_namespace_that_langgraph_refuses_is_refused(store: AegisStore, namespace: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {})


def test_dotted_label_cannot_reach_another_namespace_through_a_batch(store: AegisStore) -> None:
    store.put(("a", "b"), "k", {"n": 1})
    for op in (GetOp(("a.b",), "k"), SearchOp(("a.b",)), PutOp(("a.b",), "k", None)):
        with pytest.raises(InvalidNamespaceError):
            store.batch([op])
    assert store.get(("a", "b"), "k") is not None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": "\0"}, "NUL"),
        ({"a": "\udc00"}, "cannot be stored as JSON"),
        ({"a": {1, 2}}, "not JSON serializable"),
        ({"a": float("nan")}, "cannot be stored as JSON"),
    ],
)
def test_value_that_is_no_json_is_refused(store: AegisStore, value: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        store.put(("a",), "k", value)
    assert store.get(("a",), "k") is None


def test_unknown_operation_is_refused(store: AegisStore) -> None:
    with pytest.raises(InvalidInput, match="Unknown operation str"):
        store.batch(["drop table"])  # pyright: ignore[reportArgumentType]


def test_expired_items_go_with_the_sweeper(make_store: Any) -> None:
    store = make_store(index=False, ttl={"default_ttl": 0, "omit_expired": True})
    kept = make_store(index=False, ttl={"default_ttl": 0}, namespace=store._namespace)
    store.put(("a",), "gone", {})
    store.put(("a",), "stays", {}, ttl=None)
    assert store.get(("a",), "gone") is None
    assert kept.get(("a",), "gone") is not None
    sweeper = store.start_ttl_sweeper(0.0005)
    assert store.start_ttl_sweeper() is sweeper
    for _ in range(500):
        if kept.get(("a",), "gone", refresh_ttl=False) is None:
            break
    else:
        pytest.fail("nothing was swept")
    assert store.stop_ttl_sweeper(10)
    assert store.stop_ttl_sweeper()
    assert sweeper.cancelled()
    assert [item.key for item in kept.search(("a",))] == ["stays"]
    store.put(("a",), "gone", {})
    assert store.sweep_ttl() >= 1
    with pytest.raises(InvalidInput, match="use more than 0"):
        store.start_ttl_sweeper(-1)


def test_remembered_items_are_recalled(make_store: Any, client: Any) -> None:
    store = make_store(remember=True)
    store.put(("users", "1"), "home", {"text": "Ann lives in Oslo."})
    hits = client.memory.recall("Where does Ann live?", namespace=store._namespace)
    assert [hit.episode.summary for hit in hits] == ["Ann lives in Oslo."]
    store.delete(("users", "1"), "home")
    assert client.memory.count(namespace=store._namespace) == 0


def test_store_of_no_client_is_refused() -> None:
    with pytest.raises(InvalidInput, match="client is str"):
        AegisStore("postgresql://…")


@pytest.mark.parametrize(
    ("package", "module"), [("langgraph", "aegis.langgraph"), ("langchain_core", "aegis.langchain")]
)
def test_missing_extra_is_named(package: str, module: str) -> None:
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        f"u.find_spec = lambda name, *a: None if name == {package!r} else find(name, *a)\n"
        f"try:\n    import {module}\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError ")
    assert f"pip install 'aegis-core[{module.removeprefix('aegis.')}]'" in done.stdout
