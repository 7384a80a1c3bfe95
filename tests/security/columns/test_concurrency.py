"""Writers beside the encryption, two encryptions at once, and processes that are killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from aegis.billing import Billing
from aegis.db import Database
from aegis.errors import Conflict
from aegis.security.columns import Encryption
from tests.security.columns.conftest import ACCOUNT, customers, states
from tests.serving import environment
from tests.statements import rows

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings


async def test_writers_beside_it_lose_nothing_and_leave_nothing_clear(
    db: Database, dsn: str, settings: Settings, encryption: Encryption
) -> None:
    billing = Billing(db, settings)
    await customers(billing, 60)
    written: dict[str, str] = {}
    over = asyncio.Event()

    async def write(seed: int) -> int:
        chance = random.Random(seed)
        async with await Database.open(dsn, settings, min_size=1) as own:
            mine, count = Billing(own, settings), 0
            while not over.is_set():
                # Each customer has one writer, so that the last value is known.
                customer = f"c{chance.randrange(20) * 3 + seed}"
                name = f"Name {seed} {count}"
                await mine.set_account(
                    customer, name=name, email=f"{name[5:].replace(' ', '')}@e.org"
                )
                written[customer] = name
                count += 1
        return count

    async def change() -> None:
        try:
            await encryption.enable(*ACCOUNT)
            await encryption.rotate()
            assert all(found.good for found in await encryption.verify())
            await encryption.disable(all_columns=True)
            await encryption.enable(*ACCOUNT)
        finally:
            over.set()

    counts = await asyncio.gather(write(0), write(1), write(2), change())
    assert all(count for count in counts[:3])
    assert all(found.good and not found.clear for found in await encryption.verify())
    for customer, name in written.items():
        assert (await billing.account(customer)).name == name
    assert set((await states(db)).values()) == {"encrypted"}


async def test_a_transaction_that_began_clear_ends_before_encryption_begins(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 1)
    async with db.transaction() as conn:
        await conn.execute("UPDATE billing_accounts SET name = 'written clear'")
        beginning = asyncio.create_task(encryption.enable("billing_accounts.name"))
        done, _ = await asyncio.wait([beginning], timeout=1.5)
        assert not done
        assert await states(db) == {}
    assert await beginning == 1
    assert (await billing.account("c0")).name == "written clear"
    assert (await encryption.verify())[0].clear == 0


async def test_two_at_once_are_one_after_another(
    db: Database, billing: Billing, encryption: Encryption, settings: Settings
) -> None:
    await customers(billing, 9)
    met: list[str] = []

    def on_progress(column: str, done: int) -> None:
        met.append(column)

    async def second() -> None:
        while not met:
            await asyncio.sleep(0)
        with pytest.raises(Conflict) as refused:
            await Encryption(db, settings).rotate()
        assert refused.value.code == "columns_busy"

    await asyncio.gather(encryption.enable(*ACCOUNT, on_progress=on_progress), second())
    assert set((await states(db)).values()) == {"encrypted"}


KILLED = """
    import asyncio, os, signal, sys
    from aegis.config import load_settings
    from aegis.db import Database
    from aegis.security.columns import Encryption

    async def main(action, point):
        settings = load_settings()
        met = 0

        def trace(frame, event, arg):
            nonlocal met
            if "security/columns" not in frame.f_code.co_filename and (
                "aegis/keyring" not in frame.f_code.co_filename
            ):
                return None
            met += 1
            if met == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        async with await Database.open(settings.database_url, settings, min_size=1) as db:
            encryption = Encryption(db, settings)
            encryption.page = 2
            names = sys.argv[3].split(",")
            sys.settrace(trace)
            if action == "enable":
                await encryption.enable(*names)
            elif action == "rotate":
                await encryption.rotate()
            else:
                await encryption.disable(all_columns=True)
            sys.settrace(None)
        print(met)

    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def _killed(tmp: Path, dsn: str, action: str, point: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), action, str(point), ",".join(ACCOUNT)],
        env=environment(tmp, database_url=dsn, embedder="none", application_name="to be killed"),
        capture_output=True,
        text=True,
        timeout=120,
    )


async def _buried(db: Database) -> None:
    """Wait until the server has noticed that a killed process is gone: its locks go with it.

    Looking for its locks is not enough: one that it had asked for may be given to it yet.
    """
    sessions = "SELECT FROM pg_stat_activity WHERE application_name = 'to be killed'"
    async with asyncio.timeout(30):
        while await rows(db, sessions):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("action", ["enable", "rotate", "disable"])
async def test_a_process_killed_at_any_line_leaves_what_the_next_one_ends(
    db: Database, dsn: str, settings: Settings, action: str
) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    billing, encryption = Billing(db, settings), Encryption(db, settings)
    await customers(billing, 5)
    wanted = [(a.customer_id, a.name, a.email) for a in await billing.accounts()]
    whole: int | None = None
    chance = random.Random(action)
    for round_ in range(8):
        if action == "enable":
            await encryption.disable(all_columns=True)
        elif not await states(db):
            await encryption.enable(*ACCOUNT)
        point = 0 if whole is None else chance.randrange(1, whole)
        done = _killed(settings.data_dir, dsn, action, point)
        if whole is None:
            assert done.returncode == 0, done.stderr
            whole = int(done.stdout)
            assert whole > 200
        else:
            assert done.returncode == -9, (round_, point, whole, done.stderr)
            await _buried(db)
        # Whatever it left, everything is read, written, and gone on with.
        assert [(a.customer_id, a.name, a.email) for a in await billing.accounts()] == wanted
        await billing.set_account("c0", name=wanted[0][1])
        keys = len(encryption.keys.ring().ids)
        match action:
            case "enable":
                await encryption.enable(*ACCOUNT)
                assert len(encryption.keys.ring().ids) == max(keys, 1)
            case "rotate":
                await encryption.rotate()
            case _:
                await encryption.disable(all_columns=True)
        found = await encryption.verify()
        assert all(one.good and not one.clear for one in found)
        assert [(a.customer_id, a.name, a.email) for a in await billing.accounts()] == wanted
        assert await rows(db, "SELECT FROM encrypted_columns WHERE older_keys <> '{}'") == []
        assert set((await states(db)).values()) <= {"encrypted"}
