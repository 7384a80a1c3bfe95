"""`aegis memory items …`: what stores keep, to look at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aegis as library

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def fill(dsn: str) -> None:
    async def work() -> None:
        async with library.connect(dsn) as a:
            await a.memory.items.put(["users", "42"], "home", {"text": "Oslo"}, ttl_minutes=5)
            await a.memory.items.put(["users", "7"], "home", {"text": "Rome", "n": 3})
            await a.memory.items.put(["a/b"], "k", {"text": "slash"})

    asyncio.run(work())


def test_items_are_listed_filtered_and_shown(aegis: Shell, dsn: str) -> None:
    fill(dsn)
    shown = aegis("memory", "items", "list")
    assert shown.status == 0
    assert "Oslo" in shown.out
    page: Any = aegis("memory", "items", "list", "users", "--json").json
    assert [item["path"] for item in page["items"]] == [["users", "7"], ["users", "42"]]
    assert page["next_cursor"] is None
    first = aegis("memory", "items", "list", "--limit", "2", "--json").json
    rest = aegis(
        "memory", "items", "list", "--limit", "2", "--cursor", first["next_cursor"], "--json"
    )
    assert len(first["items"]) == 2 and len(rest.json["items"]) == 1
    some = aegis("memory", "items", "list", "--filter", '{"n": {"$gt": 2}}', "--json").json
    assert [item["value"]["text"] for item in some["items"]] == ["Rome"]
    assert [
        i["key"] for i in aegis("memory", "items", "list", '["a/b"]', "--json").json["items"]
    ] == ["k"]
    item = aegis("memory", "items", "get", "users/42", "home", "--json").json
    assert (item["value"], item["ttl_minutes"]) == ({"text": "Oslo"}, 5)
    again = aegis("memory", "items", "get", "users/42", "home", "--json").json
    assert again["expires_at"] == item["expires_at"]
    assert '"text": "Oslo"' in aegis("memory", "items", "get", "users/42", "home").out
    assert aegis("memory", "items", "list", "--namespace", "other", "--json").json["items"] == []


def test_what_is_not_there_or_means_nothing_is_one_line(aegis: Shell) -> None:
    missing = aegis("memory", "items", "get", "users/42", "home")
    assert missing.status != 0
    assert "There is no item 'home' at 'users/42'. [not_found]" in missing.err
    wrong = aegis("memory", "items", "list", "--filter", '{"n": {"$in": [1]}}')
    assert "operator '$in'" in wrong.err
    assert "must be a JSON object" in aegis("memory", "items", "list", "--filter", "[1]").err
