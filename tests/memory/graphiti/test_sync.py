"""The real graphiti-core on a real Kuzu file, with a language model's endpoint on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import Database
from aegis.errors import ConfigError, Conflict, NotFound, Unavailable
from aegis.memory import Memory
from aegis.memory.embedding import open_embedder
from aegis.memory.graphiti.client import episode_uuid, group_of
from aegis.memory.graphiti.service import GraphitiSync
from tests.memory.embedding.test_openai import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aegis.config import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MAY = datetime(2026, 5, 1, tzinfo=UTC)
#: What the endpoint says to each kind of question that graphiti-core asks.
ANSWERS: dict[str, Any] = {
    "ExtractedEntities": {
        "extracted_entities": [
            {"name": "Alice", "entity_type_id": 0},
            {"name": "Rocket", "entity_type_id": 0},
        ]
    },
    "NodeResolutions": {"entity_resolutions": []},
    "ExtractedEdges": {
        "edges": [
            {
                "source_entity_name": "Alice",
                "target_entity_name": "Rocket",
                "relation_type": "WORKS_ON",
                "fact": "Alice works on Rocket",
            }
        ]
    },
    "EdgeTimestamps": {"valid_at": None, "invalid_at": None},
    "EdgeDuplicate": {"duplicate_facts": [], "contradicted_facts": []},
    "SummarizedEntities": {"summaries": []},
}


def answer(body: dict[str, Any]) -> Reply:
    if "input" in body:
        texts = body["input"]
        rows = [{"index": n, "embedding": [1.0, len(t), 2.0, 3.0]} for n, t in enumerate(texts)]
        return Reply(body=json.dumps({"data": rows}).encode())
    asked = body["response_format"]["json_schema"]["name"]
    text = "nonsense" if "POISON" in _newest_text(body) else json.dumps(ANSWERS[asked])
    message = {"role": "assistant", "content": text}
    reply = {
        **{"id": "x", "object": "chat.completion", "created": 1, "model": "m"},
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    return Reply(body=json.dumps(reply).encode(), headers={"Content-Type": "application/json"})


def _newest_text(body: dict[str, Any]) -> str:
    """Return what is asked about, without the episodes before it."""
    text = body["messages"][-1]["content"]
    return text.partition("<PREVIOUS")[0] + text.rpartition("PREVIOUS")[2]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=answer)) as running:
        yield running


@pytest.fixture
def wired(settings: Settings, endpoint: Endpoint, tmp_path: Path) -> Settings:
    return replace(
        settings,
        embedder="openai",
        embedding_url=endpoint.url,
        embedding_dimensions=4,
        llm_url=endpoint.url,
        llm_model="m",
        llm_api_key="sk-graphiti-secret",
        graphiti_url=f"kuzu:{tmp_path}/graph.kuzu",
    )


@pytest.fixture
async def memory(dsn: str, wired: Settings) -> AsyncIterator[Memory]:
    async with await Database.open(dsn, wired, min_size=1) as db:
        memory = Memory(db, None, namespace="default")
        memory.graphiti = sync_of(db, wired)
        yield memory


def sync_of(db: Database, settings: Settings) -> GraphitiSync:
    return GraphitiSync(db, open_embedder(settings), namespace="default", first_delay_s=0.001)


async def note(memory: Memory, text: str, at: datetime = MAY) -> int:
    return (await memory.record("note", text, timestamp=at)).id


def graph(tmp_path: Path, question: str) -> list[Any]:
    import kuzu

    with kuzu.Database(f"{tmp_path}/graph.kuzu") as database, kuzu.Connection(database) as conn:
        result: Any = conn.execute(question)
        return [row[0] if len(row) == 1 else row for row in result.get_all()]


COUNTS = {
    "episodes": "MATCH (e:Episodic) RETURN count(*)",
    "entities": "MATCH (e:Entity) RETURN count(*)",
    "mentions": "MATCH (:Episodic)-[m:MENTIONS]->(:Entity) RETURN count(*)",
    "facts": "MATCH (e:RelatesToNode_) RETURN count(*)",
}


def counts(tmp_path: Path) -> dict[str, int]:
    return {name: graph(tmp_path, question)[0] for name, question in COUNTS.items()}


async def test_episodes_arrive_in_the_order_of_time_and_are_marked(
    memory: Memory, tmp_path: Path
) -> None:
    later = await note(memory, "Alice works on Rocket again", MAY + timedelta(days=1))
    sooner = await note(memory, "Alice works on Rocket")
    done = await memory.graphiti.sync()
    assert (done.pushed, done.failed) == (2, 0)
    rows = graph(
        tmp_path, "MATCH (e:Episodic) RETURN e.uuid, e.content, e.group_id ORDER BY e.valid_at"
    )
    assert [tuple(row) for row in rows] == [
        (episode_uuid("default", sooner), "Alice works on Rocket", "default"),
        (episode_uuid("default", later), "Alice works on Rocket again", "default"),
    ]
    assert counts(tmp_path) == {"episodes": 2, "entities": 2, "mentions": 4, "facts": 1}
    state = await memory.graphiti.state()
    assert (state.synced, state.pending, state.failed) == (2, 0, 0)
    assert (await memory.graphiti.sync()).pushed == 0


async def test_a_repeat_changes_nothing_and_a_change_replaces(
    memory: Memory, tmp_path: Path
) -> None:
    one = await note(memory, "Alice works on Rocket")
    await memory.graphiti.sync()
    before = counts(tmp_path)
    # As after a crash between Graphiti's answer and our note of it.
    async with memory.database.transaction() as conn:
        await conn.execute("UPDATE episodic_memory SET graphiti_synced_at = NULL")
    assert (await memory.graphiti.sync()).pushed == 1
    assert counts(tmp_path) == before
    await memory.update(one, summary="Alice left Rocket")
    assert (await memory.graphiti.state()).pending == 1
    assert (await memory.graphiti.sync()).pushed == 1
    assert graph(tmp_path, "MATCH (e:Episodic) RETURN e.content") == ["Alice left Rocket"]
    assert counts(tmp_path) == before


async def test_copies_of_what_was_erased_are_taken_out(memory: Memory, tmp_path: Path) -> None:
    gone = await note(memory, "Alice works on Rocket")
    await note(memory, "the weather", MAY + timedelta(days=1))
    await memory.graphiti.sync()
    proof = await memory.erasures.run("Alice")
    with pytest.raises(NotFound):
        await memory.get(gone)
    assert len(graph(tmp_path, "MATCH (e:Episodic) RETURN e.content")) == 2
    done = await memory.graphiti.forget(proof.id)
    assert (done.removed, done.absent) == (1, 0)
    assert graph(tmp_path, "MATCH (e:Episodic) RETURN e.content") == ["the weather"]
    again = await memory.graphiti.forget(proof.id)
    assert (again.removed, again.absent) == (0, 1)
    with pytest.raises(NotFound):
        await memory.graphiti.forget(proof.id + 1)


async def test_change_by_plain_sql_is_pushed_again(memory: Memory) -> None:
    await note(memory, "Alice works on Rocket")
    await memory.graphiti.sync()
    async with memory.database.transaction() as conn:
        await conn.execute("UPDATE episodic_memory SET summary = 'other'")
    assert (await memory.graphiti.state()).pending == 1


async def test_change_during_the_push_is_not_taken_for_pushed(
    memory: Memory, endpoint: Endpoint, dsn: str
) -> None:
    import psycopg

    one = await note(memory, "Alice works on Rocket")

    def change_meanwhile(body: dict[str, Any]) -> Reply:
        endpoint.answer = answer
        with psycopg.connect(dsn) as conn:
            conn.execute("UPDATE episodic_memory SET summary = 'changed' WHERE id = %s", [one])
        return answer(body)

    endpoint.answer = change_meanwhile
    await memory.graphiti.sync()
    assert (await memory.graphiti.state()).pending == 1


async def test_one_bad_episode_does_not_block_the_rest(memory: Memory, tmp_path: Path) -> None:
    bad = await note(memory, "POISON")
    good = await note(memory, "Alice works on Rocket", MAY + timedelta(days=1))
    done = await memory.graphiti.sync()
    assert (done.pushed, done.failed) == (1, 1)
    (failure,) = await memory.graphiti.failures()
    assert (failure.episode_id, failure.attempts) == (bad, 3)
    assert failure.error
    state = await memory.graphiti.state()
    assert (state.synced, state.pending, state.failed) == (1, 0, 1)
    assert (await memory.graphiti.sync()).pushed == 0
    assert (await memory.graphiti.sync(retry=True)).failed == 1
    await memory.update(bad, summary="Alice is well")
    assert (await memory.graphiti.sync()).pushed == 1
    assert await memory.graphiti.failures() == []
    assert {bad, good} == {e.id for e in await memory.list()}
    assert counts(tmp_path)["episodes"] == 2


async def test_a_model_that_is_away_ends_the_run_and_it_goes_on_there(
    memory: Memory, endpoint: Endpoint
) -> None:
    for day in range(3):
        await note(memory, f"Alice works on Rocket {day}", MAY + timedelta(days=day))
    await memory.graphiti.sync(limit=1)
    endpoint.answer = lambda _: Reply(status=503)
    with pytest.raises(Unavailable) as caught:
        await memory.graphiti.sync()
    assert caught.value.code == "graphiti_unavailable"
    assert "sk-graphiti-secret" not in str(caught.value)
    state = await memory.graphiti.state()
    assert (state.synced, state.pending, state.failed) == (1, 2, 0)
    endpoint.answer = answer
    assert (await memory.graphiti.sync()).pushed == 2


async def test_a_refused_key_is_said_at_once(memory: Memory, endpoint: Endpoint) -> None:
    await note(memory, "Alice works on Rocket")
    endpoint.answer = lambda body: answer(body) if "input" in body else Reply(status=401)
    with pytest.raises(ConfigError, match="AEGIS_LLM_API_KEY"):
        await memory.graphiti.sync()


async def test_two_runs_at_once_are_refused(memory: Memory, wired: Settings, dsn: str) -> None:
    from aegis.memory.store import graphiti as store

    async with await Database.open(dsn, wired, min_size=1) as other, other.connection() as conn:
        assert await store.try_lock(conn, "default")
        with pytest.raises(Conflict, match="already"):
            await memory.graphiti.sync()
        await store.unlock(conn, "default")
    assert (await memory.graphiti.sync()).pushed == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"graphiti_url": None}, "graphiti_url"),
        ({"graphiti_url": "http://x"}, "graphiti_url"),
        ({"graphiti_url": "kuzu:"}, "graphiti_url"),
        ({"llm_url": None}, "graphiti_llm"),
        ({"graphiti_url": "falkor://127.0.0.1:9"}, "extra_missing"),
    ],
)
async def test_what_is_missing_is_named(
    dsn: str, wired: Settings, changes: dict[str, Any], code: str
) -> None:
    settings = replace(wired, **changes)
    async with await Database.open(dsn, settings, min_size=1) as db:
        with pytest.raises(ConfigError) as caught:
            await sync_of(db, settings).sync()
    assert caught.value.code == code


async def test_without_the_extra_it_says_how_to_install_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "graphiti_core", None)
    with pytest.raises(ConfigError, match=r"pip install 'aegis-core\[graphiti\]'"):
        await memory.graphiti.sync()


@pytest.mark.parametrize("namespace", ["default", "a b", "ä/ö", "x" * 200, "../..", "🦀"])
def test_group_is_one_that_graphiti_takes(namespace: str) -> None:
    from graphiti_core.helpers import validate_group_id

    assert validate_group_id(group_of(namespace))
    assert group_of(namespace) != group_of(namespace + "x")
    assert (group_of(namespace) == namespace) is (namespace == "default")


#: In a process of its own: graphiti-core sends nothing where it sees pytest. Every address that is
#: looked up or connected to is written down.
ALONE = """
import sys
seen = []

def watch(event, arguments):
    if event == "socket.connect":
        seen.append(str(arguments[1]))
    elif event == "socket.getaddrinfo":
        seen.append(str(arguments[:2]))

sys.addaudithook(watch)
from aegis.cli.main import run
status = run(["memory", "sync", "graphiti"])
import json, os
print(json.dumps({"status": status, "seen": seen,
                  "off": os.environ["GRAPHITI_TELEMETRY_ENABLED"],
                  "posthog": "posthog" in sys.modules, "pytest": "pytest" in sys.modules}))
"""


async def test_nothing_leaves_but_to_the_addresses_of_the_settings(
    memory: Memory, wired: Settings, dsn: str, tmp_path: Path, endpoint: Endpoint
) -> None:
    await note(memory, "Alice works on Rocket")
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": ":".join(sys.path),
            "HOME": str(tmp_path),
            "AEGIS_DATABASE_URL": dsn,
            "AEGIS_DATA_DIR": str(tmp_path / "data"),
            "AEGIS_EMBEDDER": "openai",
            "AEGIS_EMBEDDING_URL": endpoint.url,
            "AEGIS_EMBEDDING_DIMENSIONS": "4",
            "AEGIS_LLM_URL": endpoint.url,
            "AEGIS_LLM_MODEL": "m",
            "AEGIS_GRAPHITI_URL": wired.graphiti_url or "",
        },
    )
    assert done.returncode == 0, done.stderr
    said, _, report = done.stdout.rstrip().rpartition("\n")
    assert "Pushed 1 episodes; 0 were not taken." in said
    result = json.loads(report)
    port = endpoint.url.split(":")[2].split("/")[0]
    strangers = [
        address
        for address in result["seen"]
        if not (address.startswith(("('127.0.0.1'", "(b'127.0.0.1'")) and port in address)
        and "PGSQL" not in address
    ]
    assert strangers == []
    assert any(port in address for address in result["seen"])
    assert (result["status"], result["off"], result["pytest"]) == (0, "false", False)
    assert not (tmp_path / ".cache" / "graphiti").exists()
