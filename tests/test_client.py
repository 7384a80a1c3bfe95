"""The Python client, with and without `async`: one implementation, the same answers."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING

import pytest

import aegis
from aegis.errors import AegisError, InvalidInput, NotFound, OpsError, Unavailable

if TYPE_CHECKING:
    from aegis.config import Settings


async def test_async_client_records_and_recalls(dsn: str, settings: Settings) -> None:
    async with aegis.connect(dsn, settings=settings, namespace="agent-1") as a:
        episode = await a.memory.record("note", "The cat sat on the mat.")
        assert episode.namespace == "agent-1"
        hits = await a.memory.recall("where is the cat?")
    assert [hit.episode.id for hit in hits] == [episode.id]


def test_client_without_async_does_the_same(dsn: str, settings: Settings) -> None:
    with aegis.connect(dsn, settings=settings) as a:
        episode = a.memory.record("note", "The cat sat on the mat.")
        fact = a.memory.facts.record("cat", "sits on the mat")
        assert a.memory.recall("cat", k=1)[0].episode == episode
        assert a.memory.context("cat", budget_tokens=99).ids == [episode.id]
        assert a.memory.facts.get(fact.id) == fact
        assert a.memory.namespace == "default"
        with pytest.raises(NotFound):
            a.memory.get(999)


def test_errors_inside_the_block_leave_it_and_close_it(dsn: str, settings: Settings) -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput), aegis.connect(dsn, settings=settings) as a:
        a.memory.record("note", "")
    assert threading.active_count() <= before + 1


async def test_client_of_a_server_that_is_away_says_so(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        async with aegis.connect("postgresql://u@127.0.0.1:9/d", settings=settings):
            pass


async def test_client_of_an_empty_database_says_what_to_run(
    empty_dsn: str, settings: Settings
) -> None:
    with pytest.raises(OpsError, match="aegis db upgrade"):
        async with aegis.connect(empty_dsn, settings=settings):
            pass


def test_every_public_operation_is_a_coroutine() -> None:
    from aegis.memory import Memory

    for name, member in inspect.getmembers(Memory, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.iscoroutinefunction(member), name


def test_one_error_type_catches_all() -> None:
    assert issubclass(InvalidInput, AegisError)
    assert aegis.AegisError is AegisError
