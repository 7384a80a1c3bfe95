"""Other types of nodes: tasks, SQL, memory, language models, research, page checks."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import execute, fetch_value
from aegis.errors import (
    AegisError,
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from aegis.memory import Memory
from aegis.workflows import task
from aegis.workflows.nodes import registry
from aegis.workflows.nodes.contract import Step, retryable
from aegis.workflows.nodes.registry import get_type, node_types
from aegis.workflows.reader import make_reader
from tests.workflows.nodes.steps import a_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aegis.config import Settings
    from aegis.db import Database


async def run(kind: str, settings: Settings | None = None, **params: Any) -> Any:
    return await get_type(kind).run(a_step(params=params, settings=settings))


@task("test.add")
def add(a: int, b: int = 1) -> dict[str, Any]:
    return {"sum": a + b, "thread": threading.current_thread() is threading.main_thread()}


@task("test.greet")
async def greet(name: str, *, step: Step) -> str:
    return f"{name} at {step.node} with {step.idempotency_key}"


async def test_tasks_with_and_without_async_are_called_by_name() -> None:
    said = await run("task", function="test.add", arguments={"a": 2, "b": 3})
    assert said == {"sum": 5, "thread": False}
    assert await run("task", function="test.greet", arguments={"name": "Ada"}) == (
        "Ada at one with key-1"
    )


async def test_a_task_that_is_not_there_or_called_wrongly_is_refused() -> None:
    with pytest.raises(NotFound, match=r"test\.gone"):
        await run("task", function="test.gone")
    with pytest.raises(InvalidInput, match="missing"):
        await run("task", function="test.add")
    with pytest.raises(InvalidInput, match="unexpected"):
        await run("task", function="test.add", arguments={"a": 1, "c": 2})
    with pytest.raises(InvalidInput, match="already"):
        task("test.add")(lambda: None)


class Mail:
    name = "test_mail"
    runs = "step"

    def check(self, params: Mapping[str, Any]) -> list[Any]:
        return []

    async def run(self, step: Step) -> Any:
        return "sent"


@pytest.fixture
def mail() -> Iterator[Mail]:
    kind = Mail()
    registry.register_type(kind)  # pyright: ignore[reportArgumentType]
    yield kind
    registry._added.pop("test_mail")


async def test_types_of_others_are_found_and_cannot_take_a_name(mail: Mail) -> None:
    assert get_type("test_mail") is mail
    assert "test_mail" in node_types()
    other = Mail()
    other.name = "http"
    with pytest.raises(InvalidInput, match="already"):
        registry.register_type(other)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="NodeType"):
        registry.register_type(object())  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFound, match="nothing"):
        get_type("nothing")


class Entry:
    def __init__(self, name: str, found: Any) -> None:
        self.name = name
        self._found = found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_entry_points_are_loaded_and_what_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        Entry("mail", Mail),
        Entry("broken", ImportError("no module")),
        Entry("wrong", object()),
        Entry("http", type("Http", (Mail,), {"name": "http"})),
    ]

    def found(*, group: str) -> list[Entry]:
        assert group == "aegis.nodes"
        return entries

    monkeypatch.setattr("importlib.metadata.entry_points", found)
    registry._found.cache_clear()
    try:
        assert "test_mail" in node_types()
        failed = registry.failures()
        assert set(failed) == {"broken", "wrong", "http"}
        assert "no module" in failed["broken"]
    finally:
        registry._found.cache_clear()


def test_every_type_says_what_it_does_and_refuses_what_it_does_not_know() -> None:
    for kind in node_types().values():
        assert getattr(kind, "doc", "")
        problems = kind.check({"no_such_parameter": 1})
        assert any("no_such_parameter" in str(problem) for problem in problems), kind.name


@pytest.mark.parametrize(
    ("kind", "params", "field"),
    [
        ("set", {}, "params.value"),
        ("http", {"url": "https://x", "json": 1, "body": "x"}, "params"),
        ("http", {"url": "https://x", "expect": [99]}, "params.expect"),
        ("http", {"url": "https://x", "timeout_s": 0}, "params.timeout_s"),
        ("sql", {"statement": "DROP TABLE x"}, "params.statement"),
        ("sql", {"statement": "/* SELECT */ DELETE FROM x"}, "params.statement"),
        ("sql", {"statement": "SELECT {{ input.x }}"}, "params.statement"),
        ("sql_write", {"statement": "COMMIT"}, "params.statement"),
        ("memory_record", {"event_type": "x", "summary": "y", "importance": "z"}, "importance"),
        ("wait_until", {"time": "tomorrow"}, "params.time"),
        ("wait_until", {"time": "2026-01-01T00:00:00"}, "params.time"),
        ("wait_for", {"seconds": -1}, "params.seconds"),
        ("fan_out", {"items": "x"}, "params.items"),
        ("fan_out", {"items": [], "concurrency": 0}, "params.concurrency"),
        ("fan_out", {"items": [], "concurrency": "{{ 1 }}"}, "params.concurrency"),
        ("approval", {"message": ""}, "params.message"),
        ("signal", {"name": "x", "timeout_s": "soon"}, "params.timeout_s"),
        ("sub_workflow", {"workflow": "x", "version": 0}, "params.version"),
        ("task", {"function": "{{ input.f }}"}, "params.function"),
    ],
)
def test_wrong_parameters_are_found_when_saved(
    kind: str, params: dict[str, Any], field: str
) -> None:
    assert any(field in problem.field for problem in get_type(kind).check(params))


async def test_parameters_are_checked_again_when_expressions_became_values() -> None:
    with pytest.raises(InvalidInput, match="timeout_s"):
        await run("http", url="https://example.com/", timeout_s="soon")
    assert await run("set", value={"a": [1]}) == {"a": [1]}


@pytest.fixture
async def reading(db: Database, settings: Settings) -> Settings:
    address = await make_reader(db, role="test_reader", tables=["episodic_memory"])
    return replace(settings, workflows_sql_url=address)


async def test_sql_reads_as_its_own_role_and_no_more(db: Database, reading: Settings) -> None:
    async with db.transaction() as conn:
        await execute(
            conn,
            "INSERT INTO episodic_memory (timestamp, event_type, summary) "
            "SELECT now(), 'note', 'n' || n FROM generate_series(1, 5) AS n",
        )
    found = await run(
        "sql",
        reading,
        statement="SELECT summary, 1.50::numeric AS money, now() AS at, ARRAY[1, 2] AS list "
        "FROM episodic_memory WHERE summary <> %(not)s ORDER BY id",
        values={"not": "n1'; DROP TABLE episodic_memory; --"},
        limit=2,
    )
    assert [row["summary"] for row in found["rows"]] == ["n1", "n2"]
    assert found["truncated"]
    assert (found["rows"][0]["money"], found["rows"][0]["list"]) == ("1.50", [1, 2])
    json.dumps(found)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM api_keys",
        "SELECT 1; DELETE FROM episodic_memory",
        "SELECT 1; COMMIT",
        "WITH gone AS (DELETE FROM episodic_memory RETURNING 1) SELECT * FROM gone",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT set_config('role', 'none', true), pg_read_file('/etc/hostname')",
        "SELECT lo_export(1, '/tmp/x')",
        "SELECT %(gone)s",
        "SELECT FROM FROM",
        "SELECT query_to_xml('DELETE FROM episodic_memory', true, true, '')",
        "SELECT * FROM pg_authid",
    ],
)
async def test_sql_that_would_do_more_than_read_is_refused(
    reading: Settings, statement: str
) -> None:
    with pytest.raises(AegisError) as caught:
        await run("sql", reading, statement=statement, values={"other": 1})
    assert caught.value.code == "workflow_sql"
    assert not retryable(caught.value)


async def test_sql_stops_in_time_and_sends_no_rows_beyond_the_limit(reading: Settings) -> None:
    with pytest.raises(Unavailable, match="timeout_s"):
        await run("sql", reading, statement="SELECT pg_sleep(60)", timeout_s=0.2)
    many = "SELECT repeat('x', 1000) FROM pg_class a, pg_class b, pg_class c"
    found = await run("sql", reading, statement=many, limit=3, timeout_s=60)
    assert len(found["rows"]) == 3


async def test_sql_needs_a_role_that_may_only_read(db: Database, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="aegis workflow reader"):
        await run("sql", settings, statement="SELECT 1")
    async with db.transaction() as conn:
        dsn = f"{conn.info.dsn} password={conn.info.password}"
    with pytest.raises(ConfigError, match="superuser"):
        await run("sql", replace(settings, workflows_sql_url=dsn), statement="SELECT 1")


async def test_a_reader_made_again_has_a_new_password_and_only_the_new_tables(
    db: Database, reading: Settings
) -> None:
    address = await make_reader(db, role="test_reader", tables=["semantic_memory"])
    assert address != reading.workflows_sql_url
    again = replace(reading, workflows_sql_url=address)
    assert (await run("sql", again, statement="SELECT count(*) FROM semantic_memory"))["rows"]
    with pytest.raises(AegisError, match="permission denied"):
        await run("sql", again, statement="SELECT count(*) FROM episodic_memory")
    for role in ("pg_monitor", "a; DROP", "A"):
        with pytest.raises(InvalidInput):
            await make_reader(db, role=role)


async def test_sql_write_is_off_and_commits_with_its_transaction_when_on(
    db: Database, settings: Settings
) -> None:
    kind = get_type("sql_write")
    statement = (
        "INSERT INTO episodic_memory (timestamp, event_type, summary, details) "
        "VALUES (now(), 'note', %(text)s, %(more)s) RETURNING summary"
    )
    params = {"statement": statement, "values": {"text": "x", "more": {"a": [1]}}}
    on = replace(settings, workflows_sql_write="on")
    async with db.transaction() as conn:
        with pytest.raises(ConfigError, match="AEGIS_WORKFLOWS_SQL_WRITE"):
            await kind.run(a_step(params=params, settings=settings, conn=conn))
        before = await fetch_value(conn, "SHOW statement_timeout")
        found = await kind.run(a_step(params=params, settings=on, conn=conn))
        assert found == {"count": 1, "rows": [{"summary": "x"}]}
        assert await fetch_value(conn, "SHOW statement_timeout") == before
    with pytest.raises(InvalidInput):
        async with db.transaction() as conn:
            await kind.run(a_step(params=params, settings=on, conn=conn))
            wrong = {"statement": "INSERT INTO nowhere VALUES (1)"}
            await kind.run(a_step(params=wrong, settings=on, conn=conn))
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM episodic_memory") == 1


async def test_memory_is_recorded_in_the_steps_transaction(
    db: Database, settings: Settings
) -> None:
    memory = Memory(db, None, namespace="default")
    kind = get_type("memory_record")
    params = {"event_type": "note", "summary": "kept", "tags": ["a"], "source_id": "s1"}
    async with db.transaction() as conn:
        first = await kind.run(a_step(params=params, conn=conn, memory=memory))
        second = await kind.run(a_step(params=params, conn=conn, memory=memory))
    assert first == second
    with pytest.raises(RuntimeError):
        async with db.transaction() as conn:
            lost = {"event_type": "note", "summary": "lost"}
            await kind.run(a_step(params=lost, conn=conn, memory=memory))
            raise RuntimeError
    (kept,) = await memory.list(namespace="team")
    assert (kept.id, kept.summary, list(kept.tags)) == (first["id"], "kept", ["a"])
    assert kept.metadata is not None
    assert kept.metadata["workflow"]["node"] == "one"
    recalled = await get_type("memory_recall").run(
        a_step(params={"query": "kept", "k": 5, "mode": "text"}, memory=memory)
    )
    assert [e["summary"] for e in recalled["episodes"]] == ["kept"]
    json.dumps(recalled)
    elsewhere = a_step(params={"namespace": "default"}, memory=memory)
    assert (await get_type("memory_recall").run(elsewhere))["episodes"] == []


@dataclass
class Thing:
    id: Any = 1
    status: str = "completed"
    error: str | None = None
    cost_usd: Any = None
    url: str | None = None
    title: str | None = None
    episode_id: int | None = None
    page_id: int = 1
    outcome: str = "changed"
    changes: tuple[int, ...] = ()
    change_type: str = "price"
    importance: str = "high"
    summary: str = "dearer"


@dataclass
class Found:
    job: Thing
    markdown: str | None = "# Report"
    sources: list[Thing] = field(default_factory=lambda: [Thing(url="https://x", title="X")])
    warnings: list[str] = field(default_factory=list[str])


@dataclass
class SomeResearch:
    status: str = "completed"
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def start(self, query: str, **more: Any) -> Any:
        self.asked.append({"query": query, **more})
        return Found(Thing())

    async def wait(self, job_id: str, **_: Any) -> Any:
        return Found(Thing(status=self.status, error="no money"))


async def test_research_is_one_job_for_all_attempts() -> None:
    service = SomeResearch()
    step = a_step(params={"query": "why?", "budget_usd": 2}, research=service)
    found = await get_type("research").run(step)
    await get_type("research").run(replace(step, attempt=2))
    assert [asked["idempotency_key"] for asked in service.asked] == ["key-1", "key-1"]
    assert service.asked[0]["namespace"] == "team"
    assert (found["markdown"], found["sources"][0]["url"]) == ("# Report", "https://x")
    service.status = "failed"
    with pytest.raises(Conflict, match="no money"):
        await get_type("research").run(step)


@dataclass
class SomeIntel:
    async def check(self, *_: Any, **__: Any) -> Any:
        return [Thing(changes=(7,), url="https://x/pricing")]

    async def changes(self, *_: Any, **__: Any) -> Any:
        return [Thing(id=8), Thing(id=7)]


async def test_page_check_says_what_its_own_checks_found() -> None:
    step = a_step(params={"competitor": "x.example"}, intel=SomeIntel())
    found = await get_type("page_check").run(step)
    assert [change["id"] for change in found["changes"]] == [7]
    assert found["checked"] == [{"page_id": 1, "url": "https://x/pricing", "outcome": "changed"}]
    with pytest.raises(ConfigError, match="intel"):
        await get_type("page_check").run(a_step(params={}))
