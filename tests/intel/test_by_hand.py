"""Pages that somebody checks by hand while workers are at them, and what is handed back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db.lease import listen
from aegis.errors import Conflict
from aegis.intel import holding, service
from aegis.intel.work import IntelWork
from tests.intel.conftest import pricing, value, watched

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.service import Intel
    from tests.intel.site import Site


async def three(intel: Intel, site: Site, db: Database) -> None:
    """Watch three pages that are due."""
    await intel.add(site.url, name="Acme", discover=False)
    for number in range(3):
        site.pages[f"/p/{number}"] = pricing(str(10 + number))
        await intel.watch("Acme", f"{site.url}/p/{number}")
    async with db.transaction() as conn:
        await conn.execute("UPDATE competitors SET discover_at = NULL")


async def test_pages_that_a_worker_hands_back_wake_another(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    await three(intel, site, db)
    async with intel.watching() as watching, aclosing(listen(db)) as told, asyncio.timeout(30):
        work = IntelWork(db, polite, watching)
        claims = await work.claim("one", limit=3, lease_s=60)
        assert await anext(told) is None
        await work.release(claims)
        # Workers sleep until the leases would have run out.
        assert await anext(told) == "intel"
        assert await work.next_due() == 0


async def test_a_page_that_a_worker_is_at_keeps_nobody_from_the_others(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    await three(intel, site, db)
    async with intel.watching() as watching:
        work = IntelWork(db, polite, watching)
        (busy,) = await work.claim("worker", limit=1, lease_s=60)
        found = await intel.check("Acme", everything=True)
        assert [done.outcome for done in found if done.outcome != "first"] == ["lost"]
        (left,) = [done for done in found if done.outcome == "lost"]
        assert f"page:{left.page_id}" == busy.id
        assert left.url.startswith(site.url)
        assert left.detail is not None
        assert "being checked just now" in left.detail
        # Whoever names it is told.
        with pytest.raises(Conflict, match="being checked"):
            await intel.check(page_id=left.page_id)
        await work.run(busy)
    assert await value(db, "SELECT count(*) FROM competitor_snapshots") == 3


async def test_settling_goes_on_where_a_worker_came_first(
    intel: Intel, site: Site, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    site.pages["/pricing"] = pricing("99")
    naps = 0

    async def nap(_: float) -> None:
        # In each pause a worker takes the page, and lets it go in the next one.
        nonlocal naps
        naps += 1
        until = "now() + INTERVAL '1 hour'" if naps % 2 else "NULL"
        async with db.transaction() as conn:
            await conn.execute(f"UPDATE competitor_pages SET lease_until = {until}".encode())

    monkeypatch.setattr(service, "anyio", SimpleNamespace(sleep=nap))
    (done,) = await intel.check(page_id=page_id, settle=True)
    assert naps > 2
    assert done.outcome == "changed"
    assert len(done.changes) == 1


async def test_a_check_that_is_cut_off_hands_its_page_back(
    intel: Intel, site: Site, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    committed, go_on = asyncio.Event(), asyncio.Event()
    claim = holding._claim  # pyright: ignore[reportPrivateUsage]

    async def slow(*given: Any) -> Any:
        found = await claim(*given)
        committed.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(holding, "_claim", slow)
    checking = asyncio.create_task(intel.check(page_id=page_id))
    await asyncio.wait_for(committed.wait(), 30)
    assert await value(db, "SELECT lease_owner FROM competitor_pages") is not None
    checking.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert await value(db, "SELECT lease_owner FROM competitor_pages") is None
