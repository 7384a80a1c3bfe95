"""Memory as it comes asks nobody outside: no model, no telemetry, no name is looked up."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Everything that an agent does in a day, in a process that ends where one address is asked.
_DAY = """
import asyncio, os, socket, sys

def watch(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os._exit(77)
    if event in ("socket.connect", "socket.connect_ex") and args[0].family != socket.AF_UNIX:
        os._exit(77)

sys.addaudithook(watch)
import aegis
from aegis.config import load_settings

async def day(dsn, folder):
    settings = load_settings({}, data_dir=folder)
    async with aegis.connect(dsn, settings=settings) as client:
        memory = client.memory
        first = await memory.record("note", "Anna moved to db1.example.com last May.")
        await memory.record("note", "See https://example.com/a and mail ops@example.com.")
        await memory.facts.record("Anna", "lives in Rome", source="chat")
        made = await memory.decisions.record(
            "Where to meet?", alternatives=["park"], chosen_option="park", reasoning="sun"
        )
        await memory.decisions.advise("Where shall we meet?")
        assert (await memory.recall("where did Anna move in May", k=1))[0].episode.id == first.id
        assert (await memory.context("Anna")).ids
        assert (await memory.facts.recall("Anna"))[0].fact.concept == "Anna"
        await memory.graph.build()
        await memory.consolidation.run()
        await memory.audit.run()
        await memory.backfill()
        await memory.retention.plan()
        await memory.items.put(["people"], "anna", {"likes": "tea"})
        print(await memory.count())

asyncio.run(day(sys.argv[1], __import__("pathlib").Path(sys.argv[2])))
"""


def test_a_day_of_memory_asks_no_address(dsn: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DAY, dsn, tmp_path / "data"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3"]
    # What would end it does end it.
    asking = _DAY.partition("import aegis")[0] + "socket.getaddrinfo('127.0.0.1', 9)"
    assert subprocess.run([sys.executable, "-c", asking], check=False).returncode == 77
