"""Whose turn it is, what robots.txt says, which pages there are, and who is told."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts.service import Alerts
from aegis.errors import Conflict, InvalidInput, LimitExceeded, NotFound, Unavailable
from aegis.intel.alerting import ChangeAlerts
from aegis.intel.differing import page_change
from aegis.intel.fetching import Fetcher
from aegis.intel.robots import read_rules
from aegis.intel.service import Intel
from aegis.intel.store import changes, hosts
from aegis.intel.work import IntelWork
from tests.intel.conftest import check, outcomes, pricing, value, watched
from tests.intel.site import Reply, Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


async def due(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE competitor_pages SET next_check_at = now() - INTERVAL '1 hour'")


async def many(intel: Intel, site: Site, db: Database, count: int) -> None:
    """Watch pages that are due."""
    await intel.add(site.url, name="Acme", discover=False)
    for number in range(count):
        site.pages[f"/p/{number}"] = pricing(str(10 + number))
        await intel.watch("Acme", f"{site.url}/p/{number}")
    async with db.transaction() as conn:
        await conn.execute("UPDATE competitors SET discover_at = NULL")


async def test_two_workers_never_have_the_same_page_and_no_host_is_crowded(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    await many(intel, site, db, 12)
    settings = replace(polite, intel_per_host=5)
    async with intel.watching() as watching:
        first, second = (IntelWork(db, settings, watching) for _ in range(2))
        one, other = await asyncio.gather(
            first.claim("a", limit=3, lease_s=60), second.claim("b", limit=3, lease_s=60)
        )
        ids = [claim.id for claim in (*one, *other)]
        assert len(ids) == len(set(ids))
        assert {claim.key for claim in one} == {site.url}
        more = await first.claim("a", limit=10, lease_s=60)
        assert len(one) + len(other) + len(more) == 5
        assert await first.claim("a", limit=10, lease_s=60) == []
        await first.release(one)
        assert await second.claim("b", limit=9, lease_s=60, without_keys=[site.url]) == []
        assert len(await second.claim("b", limit=9, lease_s=60)) == len(one)


async def test_work_of_a_dead_worker_is_taken_over_and_its_token_is_worth_nothing(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    await many(intel, site, db, 1)
    async with intel.watching() as watching:
        work = IntelWork(db, polite, watching)
        (dead,) = await work.claim("dead", limit=5, lease_s=60)
        assert await work.claim("alive", limit=5, lease_s=60) == []
        await value(
            db, "UPDATE competitor_pages SET lease_until = now() - INTERVAL '1 s' RETURNING 1"
        )
        assert await work.next_due() == 0
        (alive,) = await work.claim("alive", limit=5, lease_s=60)
        assert alive.token == dead.token + 1
        assert await work.renew([dead], lease_s=60) == set()
        assert await work.renew([alive], lease_s=60) == {alive.id}
        await work.release([dead])
        await work.run(dead)
        assert await value(db, "SELECT lease_owner FROM competitor_pages") == "alive"
        await work.run(alive)
        assert await value(db, "SELECT count(*) FROM competitor_snapshots") == 1
        assert await value(db, "SELECT lease_owner IS NULL FROM competitor_pages")


async def test_a_worker_does_what_is_due_and_knows_when_it_is_next(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    site.pages["/"] = "<h1>Acme</h1><p>Hello there.</p><a href='/pricing'>Prices</a>"
    site.pages["/pricing"] = pricing()
    async with intel.watching() as watching:
        work = IntelWork(db, polite, watching)
        assert await work.next_due() is None
        made, _ = await intel.add(site.url, name="Acme", discover=False)
        assert await work.next_due() == 0
        (look,) = await work.claim("w", limit=5, lease_s=60)
        assert look.id == f"competitor:{made.id}"
        await work.run(look)
        assert {page.page_type for page in await intel.pages()} == {"homepage", "pricing"}
        for _ in range(4):
            for claim in await work.claim("w", limit=5, lease_s=60):
                await work.run(claim)
        wait = await work.next_due()
        assert wait is not None
        assert 0.9 * 86_400 < wait < 1.1 * 86_400


async def test_all_workers_together_ask_a_host_no_faster_than_its_pause(db: Database) -> None:
    waits: list[float] = []
    for _ in range(3):
        async with db.transaction() as conn:
            waits.append(await hosts.reserve(conn, "http://a.example", delay_s=30))
    assert waits[0] == 0
    assert 29 < waits[1] <= 30
    assert 59 < waits[2] <= 60
    async with db.transaction() as conn:
        assert await hosts.reserve(conn, "http://b.example", delay_s=30) == 0


async def test_a_host_that_says_too_many_is_left_alone(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    site.pages["/pricing"] = Reply("slow down", status=429, headers={"Retry-After": "900"})
    site.pages["/other"] = pricing()
    await intel.add(site.url, name="Acme", discover=False)
    page = await intel.watch("Acme", f"{site.url}/pricing")
    await intel.watch("Acme", f"{site.url}/other")
    assert (await check(intel, page.id)).outcome == "failed"
    await due(db)
    async with intel.watching() as watching:
        assert await IntelWork(db, polite, watching).claim("w", limit=5, lease_s=60) == []
        async with Fetcher(db, replace(polite, intel_delay_s=1)) as fetcher:
            with pytest.raises(LimitExceeded, match="is not asked for another"):
                await fetcher.get(f"{site.url}/other")
    assert site.asked["/other"] == 0


async def test_robots_txt_is_obeyed(intel: Intel, site: Site, db: Database) -> None:
    site.pages["/robots.txt"] = (
        "User-agent: *\nDisallow: /\n\nUser-agent: AegisBot\nDisallow: /private\nAllow: /\n"
    )
    site.pages["/private/pricing"] = pricing()
    site.pages["/pricing"] = pricing()
    site.pages["/moved"] = Reply("", status=302, headers={"Location": "/private/pricing"})
    await intel.add(site.url, name="Acme", discover=False)
    for path, outcome in {
        "/pricing": "first",
        "/private/pricing": "disallowed",
        "/moved": "disallowed",
    }.items():
        page = await intel.watch("Acme", site.url + path)
        assert (await check(intel, page.id)).outcome == outcome, path
    assert site.asked["/private/pricing"] == 0
    # Asked once, and remembered by the database for whoever comes next.
    assert site.asked["/robots.txt"] == 1


@pytest.mark.parametrize(
    ("status", "allowed"),
    [(404, True), (401, True), (410, True), (429, False), (500, False), (0, False)],
)
def test_who_has_no_robots_txt_allows_all_and_who_cannot_say_forbids_all(
    status: int, allowed: bool
) -> None:
    rules = read_rules(None, status=status, user_agent="AegisBot/1.0 (x)")
    assert rules.allows("https://a.example/x") is allowed


def test_a_crawl_delay_is_kept_within_reason() -> None:
    text = "User-agent: *\nCrawl-delay: {n}\nSitemap: https://a.example/s.xml"
    assert read_rules(text.format(n=7), status=200, user_agent="A").delay_s == 7
    assert read_rules(text.format(n=9_999), status=200, user_agent="A").delay_s == 30
    assert list(read_rules(text.format(n=1), status=200, user_agent="A").sitemaps) == [
        "https://a.example/s.xml"
    ]


async def test_pages_are_proposed_from_sitemaps_and_links_and_new_ones_are_told(
    intel: Intel, site: Site
) -> None:
    listed = ["/pricing", "/features", "/docs/start", "/docs/start", "/logo.png"]

    def sitemap(_: Mapping[str, str]) -> Reply:
        urls = "".join(f"<url><loc>{site.url}{path}</loc></url>" for path in listed)
        return Reply(gzip.compress(f"<urlset>{urls}</urlset>".encode()))

    site.pages["/robots.txt"] = f"Sitemap: {site.url}/index.xml"
    site.pages["/index.xml"] = (
        f"<sitemapindex><sitemap><loc>{site.url}/map.xml.gz</loc></sitemap>"
        "<sitemap><loc>http://elsewhere.example/x.xml</loc></sitemap></sitemapindex>"
    )
    site.pages["/map.xml.gz"] = sitemap
    site.pages["/"] = (
        "<h1>Acme</h1><a href='/blog/one?utm_source=x#top'>One</a><a href='/legal'>Legal</a>"
        "<a href='https://other.example/pricing'>Not theirs</a><a href='mailto:a@b'>Mail</a>"
    )
    made, found = await intel.add(site.url, name="Acme")
    assert found is not None
    assert made.last_error is None
    pages = {page.url.removeprefix(site.url): page for page in await intel.pages()}
    assert {path: (page.page_type, page.state) for path, page in pages.items()} == {
        "/": ("homepage", "watched"),
        "/pricing": ("pricing", "watched"),
        "/features": ("features", "watched"),
        "/docs/start": ("docs", "proposed"),
        "/blog/one": ("blog", "proposed"),
    }
    listed += ["/pricing/enterprise", "/blog/ghost"]
    site.pages["/pricing/enterprise"] = pricing("999")
    again = await intel.discover("Acme")
    assert len(again.proposed) == 1
    (change,) = await intel.changes("Acme")
    assert (change.change_type, change.importance) == ("new_page", "high")
    assert change.new_value == f"{site.url}/pricing/enterprise"
    assert (await intel.discover("Acme")).proposed == ()


async def test_a_site_that_cannot_be_reached_is_added_and_looked_at_later(
    intel: Intel, site: Site
) -> None:
    made, found = await intel.add(f"{site.url}/nowhere", name="Acme")
    assert found is None
    assert "HTTP 404" in (made.last_error or "")
    with pytest.raises(Conflict, match="watched already"):
        await intel.add(site.url, name="Other")
    with pytest.raises(Unavailable):
        await intel.discover("Acme")


async def test_private_addresses_are_refused_unless_allowed(
    db: Database, site: Site, settings: Settings
) -> None:
    strict = Intel(db, replace(settings, intel_delay_s=0))
    made, found = await strict.add(site.url, name="Acme")
    assert found is None
    assert "AEGIS_OUTBOUND_ALLOW" in (made.last_error or "")
    page = await strict.watch("Acme", f"{site.url}/pricing")
    assert (await check(strict, page.id)).outcome in ("failed", "disallowed")
    assert not site.asked


async def test_an_important_change_is_remembered_once_whatever_happens(
    intel: Intel, site: Site, db: Database, memory: Memory, polite: Settings
) -> None:
    site.pages["/pricing"] = pricing("49")
    page_id = await watched(intel, site)
    alerts = _Alerts()
    alerted = Intel(db, polite, memory=memory, alerting=alerts)
    site.pages["/pricing"] = pricing("99")
    await outcomes(alerted, page_id, 3)
    (episode,) = await memory.list()
    assert episode.importance == "critical"
    assert "49 USD/month → 99 USD/month" in episode.summary
    assert [told["severity"] for told in alerts.told] == ["critical"]
    # A crash after telling and before it was noted.
    await value(db, "UPDATE competitor_changes SET telling_due = true RETURNING 1")
    await check(alerted, page_id)
    assert len(await memory.list()) == 1
    assert not await value(db, "SELECT bool_or(telling_due) FROM competitor_changes")
    # While nobody can be told, it stays due.
    alerts.broken = True
    async with db.transaction() as conn:
        change = page_change("removed_page", "https://a.example/x", "pricing")
        await changes.add_change(conn, page_id, change, telling_due=True)
    await check(alerted, page_id)
    assert await value(db, "SELECT count(*) FROM competitor_changes WHERE telling_due") == 1
    alerts.broken = False
    await check(alerted, page_id)
    assert len(await memory.list()) == 2


class _Alerts:
    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.broken = False

    async def tell(self, **given: Any) -> None:
        if self.broken:
            raise Unavailable("Nobody answers.")
        self.told.append(given)

    async def over(self, keys: Sequence[str]) -> None:
        pass


async def test_an_important_change_is_an_alert_until_somebody_takes_note_of_it(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    site.pages["/pricing"] = pricing("49")
    page_id = await watched(intel, site)
    alerts = Alerts(db, polite)
    alerted = Intel(db, polite, alerting=ChangeAlerts(alerts))
    site.pages["/pricing"] = pricing("99")
    await outcomes(alerted, page_id, 3)
    (change,) = await alerted.changes()
    async with db.transaction() as conn:
        (alert,) = await alerts.open_in(conn, "intel")
    assert (alert.condition_id, alert.severity, alert.state) == (
        f"intel:change:{change.id}", "critical", "firing",
    )  # fmt: skip
    assert f"aegis intel diff {change.id}" in (alert.advice or "")
    await alerted.acknowledge([change.id])
    async with db.transaction() as conn:
        left = await alerts.open_in(conn, "intel")
    assert [one.state for one in left] in ([], ["recovering"])


async def test_a_model_sums_up_and_its_failure_costs_nothing(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    from aegis.intel.summing import Summing

    class Model:
        answer: str | None = "  They raised\nthe price. " + "x" * 2_000
        asked = ""

        async def complete(self, system: str, user: str, *, json_schema: Any) -> str:
            self.asked = user
            if self.answer is None:
                raise Unavailable("down")
            return self.answer

    model = Model()
    site.pages["/pricing"] = pricing("49")
    page_id = await watched(intel, site)
    for amount, begin in (("59", "They raised the price."), ("69", "Pro: 59 USD/month → 69")):
        site.pages["/pricing"] = pricing(amount)
        async with intel.watching() as watching:
            watching.checker._summing = Summing(model)
            for _ in range(3):
                token = int(
                    await value(
                        db,
                        """
                        UPDATE competitor_pages SET lease_token = lease_token + 1
                        RETURNING lease_token
                        """,
                    )
                )
                await watching.checker.check(page_id, token)
        (change, *_) = await intel.changes()
        assert (change.summary or "").startswith(begin)
        assert len(change.summary or "") <= 600
        model.answer = None
    assert "[-59-] {+69+}" in model.asked


async def test_what_is_asked_for_must_exist_and_be_sensible(intel: Intel, site: Site) -> None:
    await intel.add(site.url, name="Acme", discover=False)
    for refused in (
        intel.add("not a domain"),
        intel.add("https://x.example", every="1s", discover=False),
        intel.add("https://x.example", name=" ", discover=False),
        intel.watch("Acme", "ftp://x/"),
        intel.pages(states=["odd"]),
        intel.pages(limit=0),
        intel.choose([1], "gone"),
        intel.changes(types=["odd"]),
        intel.changes(importance="odd"),
        intel.digest(days=0),
        intel.configure("Acme", every="0d"),
    ):
        with pytest.raises(InvalidInput):
            await refused
    for missing in (
        intel.competitor("Nobody"),
        intel.page(7),
        intel.change(7),
        intel.configure_page(7, exclude=[".x"]),
    ):
        with pytest.raises(NotFound):
            await missing


async def test_a_competitor_is_paused_and_deleted_with_all_that_is_its_own(
    intel: Intel, site: Site, db: Database, polite: Settings
) -> None:
    site.pages["/pricing"] = pricing("49")
    page_id = await watched(intel, site)
    site.pages["/pricing"] = pricing("59")
    await outcomes(intel, page_id, 3)
    await intel.configure("Acme", enabled=False)
    await due(db)
    async with intel.watching() as watching:
        assert await IntelWork(db, polite, watching).claim("w", limit=5, lease_s=60) == []
    assert await intel.acknowledge(competitor="Acme") == [1]
    assert await intel.acknowledge([1]) == []
    assert await intel.changes(unseen=True) == []
    assert "price of" in await intel.digest()
    assert await intel.remove("Acme") == {"competitors": 1, "pages": 1, "changes": 1}
    assert await value(db, "SELECT count(*) FROM competitor_snapshots") == 0
