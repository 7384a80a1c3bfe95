"""Checks of pages against a website: what moves the baseline, and what never does."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.intel.conftest import check, outcomes, pricing, value, watched
from tests.intel.site import Reply, Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Database
    from aegis.intel.service import Intel

pytestmark = pytest.mark.servers("18", "16")


async def test_a_price_is_told_once_and_only_when_fetches_agree(
    intel: Intel, site: Site, db: Database
) -> None:
    site.pages["/pricing"] = pricing("49")
    page_id = await watched(intel, site)
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    before = await intel.page(page_id)
    site.pages["/pricing"] = pricing("59")
    assert await outcomes(intel, page_id, 2) == ["pending", "pending"]
    assert await intel.changes() == []
    assert (await intel.page(page_id)).content_hash == before.content_hash
    done = await check(intel, page_id)
    assert done.outcome == "changed"
    (change,) = await intel.changes("Acme")
    assert (change.change_type, change.importance) == ("price", "high")
    assert change.old_value == "Pro | 49 | USD | month"
    assert change.new_value == "Pro | 59 | USD | month"
    assert change.summary == "Pro: 49 USD/month → 59 USD/month (+20%)."
    assert change.word_diff == "Pro | [-49-] {+59+} | USD | month"
    assert "-Pro | 49 | USD | month\n+Pro | 59 | USD | month" in (change.diff or "")
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    assert len(await intel.changes()) == 1
    states = await value(db, "SELECT string_agg(state, ' ' ORDER BY id) FROM competitor_snapshots")
    assert states == "old baseline"


async def test_a_text_is_kept_before_and_after(intel: Intel, site: Site) -> None:
    site.pages["/docs"] = pricing(more="<p>Data is kept for one year.</p>")
    page_id = await watched(intel, site, "/docs")
    site.pages["/docs"] = pricing(more="<p>Data is kept for two years.</p>", title="Acme docs")
    await outcomes(intel, page_id, 3)
    found = {change.change_type: change for change in await intel.changes()}
    assert set(found) == {"content", "title"}
    content = found["content"]
    assert "kept for one year" in (content.old_value or "")
    assert "kept for two years" in (content.new_value or "")
    assert content.word_diff == "Data is kept for [-one year.-] {+two years.+}"
    assert found["title"].new_value == "Acme docs"


FAULTS = {
    "a server error": Reply("<h1>Oops</h1><p>Nothing here.</p>", status=500),
    "an empty body": Reply(""),
    "a page without words": Reply("<html><body><div></div></body></html>"),
    "a shell of scripts": Reply("<html><body><div id='root'></div><script>1</script></body>"),
    "an error page that says 200": Reply("<h1>503</h1><p>Service temporarily unavailable</p>"),
    "maintenance": Reply("<h1>Sorry</h1><p>We are down for maintenance, be right back.</p>"),
    "a wall before bots": Reply("<title>Just a moment...</title><p>Checking your browser</p>"),
    "a body that is cut": Reply(pricing("1"), cut_after=40),
    "a picture": Reply(b"\x89PNG", headers={"Content-Type": "image/png"}),
    "a cut gzip": Reply(
        gzip.compress(pricing("1").encode())[:-20], headers={"Content-Encoding": "gzip"}
    ),
    "brotli, which was not asked for": Reply(b"x", headers={"Content-Encoding": "br"}),
    "too many bytes": Reply("<p>word</p>" * 50_000),
    "a bomb": Reply(
        zlib.compress(b"<p>" + b"a" * 50_000_000), headers={"Content-Encoding": "deflate"}
    ),
    "too many requests": Reply("slow down", status=429, headers={"Retry-After": "1"}),
    "a redirect to nowhere": Reply("", status=302, headers={"Location": "ftp://x/"}),
    "a redirect to itself": Reply("", status=302, headers={"Location": "/pricing?again=1"}),
    "a redirect to a private address": Reply(
        "", status=302, headers={"Location": "http://127.0.0.2:1/"}
    ),
    "a redirect to the metadata of a cloud": Reply(
        "", status=302, headers={"Location": "http://169.254.169.254/latest/"}
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_went_wrong_never_moves_the_baseline(
    intel: Intel, site: Site, db: Database, name: str
) -> None:
    site.pages["/pricing"] = pricing("49")
    site.pages["/pricing?again=1"] = FAULTS["a redirect to itself"]
    page_id = await watched(intel, site)
    before = await intel.page(page_id)
    site.pages["/pricing"] = FAULTS[name]
    for failures in (1, 2, 3):
        done = await check(intel, page_id)
        assert done.outcome in ("failed", "disallowed"), done
        page = await intel.page(page_id)
        assert page.failures == failures
        assert page.last_error
        assert page.content_hash == before.content_hash
        assert page.last_checked_at == before.last_checked_at
        await value(db, "UPDATE competitor_hosts SET next_request_at = NULL RETURNING 1")
    site.pages["/pricing"] = pricing("49")
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    assert await intel.changes() == []
    assert (await intel.page(page_id)).failures == 0


async def test_failures_are_retried_later_and_later(intel: Intel, site: Site, db: Database) -> None:
    page_id = await watched(intel, site)
    assert (await intel.page(page_id)).last_status == 404
    waits: list[float] = []
    for _ in range(4):
        await check(intel, page_id)
        waits.append(
            float(
                await value(
                    db,
                    "SELECT extract(epoch FROM next_check_at - now()) FROM competitor_pages",
                )
            )
        )
    assert waits == sorted(waits)
    assert waits[-1] > 3_600
    assert waits[-1] < 8 * 86_400


async def test_a_page_that_is_gone_is_told_when_it_is_said_twice_and_so_is_its_return(
    intel: Intel, site: Site
) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    del site.pages["/pricing"]
    assert await outcomes(intel, page_id, 1) == ["pending"]
    site.pages["/pricing"] = pricing()
    assert await outcomes(intel, page_id, 1) == ["unchanged"]
    del site.pages["/pricing"]
    assert await outcomes(intel, page_id, 3) == ["pending", "changed", "failed"]
    (gone,) = await intel.changes()
    assert (gone.change_type, gone.importance) == ("removed_page", "high")
    assert (await intel.page(page_id)).state == "gone"
    site.pages["/pricing"] = pricing()
    await outcomes(intel, page_id, 2)
    assert (await intel.changes())[0].change_type == "new_page"
    assert (await intel.page(page_id)).state == "watched"
    assert len(await intel.changes()) == 2


async def test_a_page_that_leads_home_is_gone(intel: Intel, site: Site) -> None:
    site.pages["/"] = "<h1>Welcome to Acme</h1><p>We make everything.</p>"
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    site.pages["/pricing"] = Reply("", status=301, headers={"Location": "/"})
    assert await outcomes(intel, page_id, 2) == ["pending", "changed"]
    assert [c.change_type for c in await intel.changes()] == ["removed_page"]


async def test_a_known_answer_is_asked_for_with_its_tag_and_not_read_again(
    intel: Intel, site: Site
) -> None:
    def answer(headers: Mapping[str, str]) -> Reply:
        sent = {name.lower(): text for name, text in headers.items()}
        if sent.get("if-none-match") == '"v1"' and sent.get("if-modified-since"):
            return Reply("", status=304)
        stamp = "Mon, 01 Jun 2026 00:00:00 GMT"
        return Reply(pricing(), headers={"ETag": '"v1"', "Last-Modified": stamp})

    site.pages["/pricing"] = answer
    page_id = await watched(intel, site)
    assert await outcomes(intel, page_id, 1) == ["unchanged"]
    assert site.seen[-1][1]["if-none-match"] == '"v1"'
    assert (await intel.page(page_id)).last_status == 200
    # What is to be read in another way is asked for anew.
    await intel.configure_page(page_id, exclude=["h1"])
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    assert "if-none-match" not in site.seen[-2][1]
    assert await intel.changes() == []


async def test_another_extraction_is_no_change(intel: Intel, site: Site, db: Database) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    assert await value(
        db,
        """
        WITH page AS (UPDATE competitor_pages SET extractor = '0/old', body_hash = 'x')
        UPDATE competitor_snapshots
        SET extractor = '0/old', text = 'as the old one read it', prices = ''
        RETURNING 1
        """,
    )
    assert await outcomes(intel, page_id, 3) == ["unchanged"] * 3
    assert await intel.changes() == []
    text = await value(db, "SELECT text FROM competitor_snapshots WHERE state = 'baseline'")
    assert "For teams that ship" in text
    # Without the document there is nothing to compare: the page is the baseline again.
    assert await value(
        db,
        """
        WITH page AS (UPDATE competitor_pages SET extractor = '0/old', body_hash = 'x')
        UPDATE competitor_snapshots
        SET extractor = '0/old', text = 'as the old one read it', html = NULL
        RETURNING 1
        """,
    )
    assert await outcomes(intel, page_id, 2) == ["unchanged"] * 2
    # And a change is still one.
    site.pages["/pricing"] = pricing("59")
    assert await outcomes(intel, page_id, 3) == ["pending", "pending", "changed"]


async def test_selectors_say_what_counts(intel: Intel, site: Site) -> None:
    news = "<aside class='news'><p>Post number {n} is out now, read all about it.</p></aside>"
    site.pages["/pricing"] = pricing(more=news.format(n="one"))
    page_id = await watched(intel, site)
    await intel.configure_page(page_id, exclude=[".news"])
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    site.pages["/pricing"] = pricing(more=news.format(n="two"))
    assert await outcomes(intel, page_id, 4) == ["unchanged"] * 4
    await intel.configure_page(page_id, exclude=[], include=["main > div"])
    assert await outcomes(intel, page_id, 2) == ["unchanged", "unchanged"]
    site.pages["/pricing"] = pricing("59", more=news.format(n="three"))
    await outcomes(intel, page_id, 3)
    assert [c.change_type for c in await intel.changes()] == ["price"]


async def test_noise_is_learned_and_a_third_price_of_an_experiment_is_news(
    intel: Intel, site: Site
) -> None:
    count = [0]
    amounts = ["49", "59"]

    def answer(_: Mapping[str, str]) -> str:
        count[0] += 1
        seen = f"<p>{1_000 + 7 * count[0]} people looked at this page today</p>"
        return pricing(amounts[count[0] % len(amounts)], more=seen)

    site.pages["/pricing"] = answer
    page_id = await watched(intel, site)
    assert set(await outcomes(intel, page_id, 6)) <= {"unchanged", "noise"}
    assert await intel.changes() == []
    amounts[:] = ["99"]
    await outcomes(intel, page_id, 6)
    (change,) = await intel.changes()
    assert change.change_type == "price"
    assert "99" in (change.new_value or "")
    assert "people looked" not in (change.diff or "")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html; charset=iso-8859-1"}, "cp1252"),
        ({"Content-Type": "text/html"}, "utf-16"),
        ({"Content-Type": "text/html; charset=shift_jis"}, "shift_jis"),
        ({"Content-Type": "text/html"}, "utf-8"),
    ],
)
async def test_a_page_is_read_in_its_encoding(
    intel: Intel, site: Site, db: Database, headers: dict[str, str], body: str
) -> None:
    words = "料金は月額です" if body == "shift_jis" else "Größe für Ärzte"
    page = pricing(more=f"<p>{words}</p>").encode(body)
    site.pages["/pricing"] = Reply(
        gzip.compress(page), headers={**headers, "Content-Encoding": "gzip"}
    )
    await watched(intel, site)
    text = await value(db, "SELECT text FROM competitor_snapshots WHERE state = 'baseline'")
    assert words in text


async def test_a_row_of_plain_sql_is_a_page_like_any_other(
    intel: Intel, site: Site, db: Database
) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await value(
        db,
        "INSERT INTO competitor_pages (url) VALUES (%(url)s) RETURNING id",
        url=f"{site.url}/pricing",
    )
    nowhere = await value(
        db, "INSERT INTO competitor_pages (url, page_type) VALUES ('no address', NULL) RETURNING id"
    )
    done = {one.page_id: one.outcome for one in await intel.check()}
    assert done == {page_id: "first", nowhere: "failed"}
    assert [page.competitor for page in await intel.pages()] == [None, None]


async def test_a_worker_that_was_taken_for_dead_writes_nothing(
    intel: Intel, site: Site, db: Database
) -> None:
    site.pages["/pricing"] = pricing()
    page_id = await watched(intel, site)
    async with intel.watching() as watching:
        token = int(await value(db, "SELECT lease_token FROM competitor_pages"))

        def answer(_: Mapping[str, str]) -> str:
            return pricing("59")

        site.pages["/pricing"] = answer
        stale = await watching.checker.check(page_id, token - 1)
        assert stale.outcome == "lost"
    assert await value(db, "SELECT count(*) FROM competitor_snapshots") == 1


async def test_deep_and_odd_documents_are_read_and_harm_nobody(
    intel: Intel, site: Site, db: Database
) -> None:
    deep = "<div>" * 20_000 + "deep words" + "</div>" * 100
    site.pages["/pricing"] = pricing(more=f"{deep}\x00<p>after\x00wards</p><table><tr><td>x")
    page_id = await watched(intel, site)
    assert await outcomes(intel, page_id, 1) == ["unchanged"]
    text = await value(db, "SELECT text FROM competitor_snapshots WHERE state = 'baseline'")
    assert "deep words" in text
