"""A competitor's website on this machine, and the watching of it without pauses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import fetch_value
from aegis.intel.service import Intel
from aegis.memory import Memory
from tests.intel.site import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.models import Checked


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


@pytest.fixture
def polite(settings: Settings) -> Settings:
    """Settings under which this machine may be asked, at once and often."""
    return replace(
        settings,
        outbound_allow="127.0.0.1",
        intel_delay_s=0,
        intel_confirm_s=0,
        intel_timeout_s=10,
        intel_max_bytes=200_000,
    )


@pytest.fixture
def memory(db: Database) -> Memory:
    return Memory(db, None, namespace="default")


@pytest.fixture
def intel(db: Database, polite: Settings, memory: Memory) -> Intel:
    return Intel(db, polite, memory=memory)


def pricing(amount: str = "49", *, more: str = "", title: str = "Acme plans") -> str:
    """Return a page with one price."""
    return (
        f"<html><head><title>{title}</title></head><body><nav><a href='/pricing'>Pricing</a></nav>"
        f"<main><h1>Plans</h1><div><h3>Pro</h3><p>${amount} / month</p>"
        f"<p>For teams that ship every day and like to sleep at night.</p></div>{more}</main>"
        "</body></html>"
    )


async def watched(intel: Intel, site: Site, path: str = "/pricing") -> int:
    """Watch a page whose baseline is taken and whose noise is learned; return its id."""
    known = [c for c in await intel.list() if c.name == "Acme"]
    if not known:
        await intel.add(site.url, name="Acme", discover=False)
    page = await intel.watch("Acme", site.url + path)
    for _ in range(4):
        await check(intel, page.id)
    return page.id


async def check(intel: Intel, page_id: int) -> Checked:
    (done,) = await intel.check(page_id=page_id)
    return done


async def outcomes(intel: Intel, page_id: int, times: int) -> list[str]:
    return [(await check(intel, page_id)).outcome for _ in range(times)]


async def value(db: Database, query: Any, **params: Any) -> Any:
    async with db.transaction() as conn:
        return await fetch_value(conn, query, params)
