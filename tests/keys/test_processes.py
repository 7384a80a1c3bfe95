"""Limits hold across processes: real ones, 64 clients each of three."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.serving import environment

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.keys import Keys

PROCESSES = 3
CLIENT = """
import asyncio, json, sys, time
import aegis

async def main(given, calls, limits):
    async with aegis.connect() as a:
        for key in given:
            await a.keys.verify(key, cost=0)
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.time()
        codes = []
        async def client(number):
            for call in range(calls):
                key = given[(number + call) % len(given)]
                codes.append((await a.keys.verify(key, limits=limits)).code)
        await asyncio.gather(*(client(n) for n in range(64)))
        print(json.dumps({"began": began, "ended": time.time(), "codes": codes}))

asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
"""


def hammer(
    settings: Settings, dsn: str, keys: list[str], calls: int, limits: list[Any]
) -> tuple[dict[str, int], float]:
    """Call from three processes at once; return how often each code was given, and seconds."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, json.dumps(keys), str(calls), json.dumps(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(settings.data_dir, database_url=dsn, embedder="none",
                            keys_timeout_s="60"),
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    found = [json.loads(process.communicate("go\n", timeout=120)[0]) for process in started]
    codes = [code for one in found for code in one["codes"]]
    seconds = max(one["ended"] for one in found) - min(one["began"] for one in found)
    return {code: codes.count(code) for code in set(codes)}, seconds


async def test_named_limit_admits_all_that_it_allows_and_not_one_more(
    keys: Keys, db: Database, settings: Settings, dsn: str
) -> None:
    issued = await keys.issue("acme", tier="enterprise", rate_limit=1_000_000)
    # 3,000 a month: while the test runs nothing is given back.
    limits = [{"name": "m", "limit": 3000, "window_s": 31 * 86_400}]
    codes, _ = hammer(settings, dsn, [issued.key], 40, limits)
    assert codes == {"VALID": 3000, "RATE_LIMITED": PROCESSES * 64 * 40 - 3000}


async def test_rate_of_a_key_admits_what_it_allows_and_what_time_gives_back(
    keys: Keys, db: Database, settings: Settings, dsn: str
) -> None:
    limit = 2400
    issued = await keys.issue("acme", tier="enterprise", rate_limit=limit)
    codes, seconds = hammer(settings, dsn, [issued.key], 40, [])
    assert set(codes) == {"VALID", "RATE_LIMITED"}
    assert 0.99 * limit <= codes["VALID"] <= limit + seconds * limit / 60 + 1


async def test_quota_is_spent_to_the_last_call_and_no_further(
    keys: Keys, db: Database, settings: Settings, dsn: str
) -> None:
    issued = await keys.issue("acme", tier="developer", rate_limit=1_000_000, monthly_quota=2000)
    codes, _ = hammer(settings, dsn, [issued.key], 20, [])
    assert codes == {"VALID": 2000, "QUOTA_EXCEEDED": PROCESSES * 64 * 20 - 2000}
    balance = await keys.quota.balance(issued.record.id)
    assert (balance.used, balance.remaining, balance.overage) == (2000, 0, 0)
