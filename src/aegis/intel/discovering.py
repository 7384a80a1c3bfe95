"""Which pages a competitor has: from its sitemaps and the links of its first page.

The first time, pages are proposed. Later ones that were not there before are proposed, too, and
are a change each, once a fetch has shown that they exist.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aegis.errors import AegisError, Unavailable
from aegis.intel.differing import page_change
from aegis.intel.extracting import links_of
from aegis.intel.models import Found
from aegis.intel.sitemap import read_sitemap, unpack
from aegis.intel.store import changes, competitors, pages
from aegis.intel.urls import host_of, join, page_type, same_site, start_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.db import Database
    from aegis.intel.models import PageType
    from aegis.intel.robots import Polite
    from aegis.intel.store.competitors import CompetitorRow

__all__ = ["Discovered", "Discoverer", "choose"]

_EVERY_S = 7 * 86_400.0
_RETRY_S = 3_600.0
_MOST_SITEMAPS = 10
_MOST_SITEMAP_BYTES = 20 * 1024 * 1024
#: Pages that a competitor may have here; beyond it they are not known, and so never new.
_MOST_PAGES = 500
#: New pages of one look that are fetched to see that they exist.
_MOST_NEW = 20
#: How many of each type are watched without being chosen.
_WATCHED: dict[PageType, int] = {"homepage": 1, "pricing": 2, "features": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What looking for a competitor's pages found."""

    competitor_id: int
    found: int
    #: Ids of pages that are watched from now on, proposed, and of the changes that new ones are.
    watched: tuple[int, ...] = ()
    proposed: tuple[int, ...] = ()
    changes: tuple[int, ...] = field(default=())


def choose(found: Iterable[Found], *, most: int = _MOST_PAGES) -> list[Found]:
    """Return pages of a known type, each once, those that matter most first."""
    order = ("homepage", "pricing", "features", "docs", "blog")
    kept = {page.url: page for page in found if page.page_type in order}

    def rank(page: Found) -> tuple[int, int, int, str]:
        depth = urlsplit(page.url).path.strip("/").count("/")
        return order.index(page.page_type), depth, len(page.url), page.url

    return sorted(kept.values(), key=rank)[:most]


class Discoverer:
    """Looks for pages."""

    def __init__(self, db: Database, polite: Polite) -> None:
        self._db = db
        self._polite = polite

    async def discover(self, competitor_id: int, token: int | None = None) -> Discovered:
        """Look for a competitor's pages and record what was found.

        `token` is that of the lease; without one nobody's lease is touched.

        Raises:
            Unavailable, PermissionDenied, LimitExceeded: its first page cannot be fetched; that is
            recorded, too.
        """
        async with self._db.transaction() as conn:
            row = await competitors.get_row(conn, competitor_id)
            known = await pages.list_urls(conn, competitor_id)
        if row is None:
            return Discovered(competitor_id=competitor_id, found=0)
        try:
            found = choose(await self._look(row))
        except AegisError as error:
            await self._note(row, token, error)
            raise
        new = [page for page in found if page.url not in known]
        new = new[: max(0, _MOST_PAGES - len(known))]
        if row.known:
            new = [page for page in new[:_MOST_NEW] if await self._exists(page.url)]
        return await self._record(row, token, new, len(found))

    async def _look(self, row: CompetitorRow) -> list[Found]:
        start = row.url or start_url(row.domain)[1]
        home = await self._polite.get(start)
        if home.status != 200:
            raise Unavailable(
                f"{start} answers with HTTP {home.status}; check the domain.", code="intel_status"
            )
        site = urlsplit(home.url).netloc
        urls: dict[str, bool] = {home.url: False}
        for link, _ in links_of(home.text):
            url = join(home.url, link)
            if url is not None:
                urls.setdefault(url, False)
        for url in await self._listed(host_of(home.url)):
            urls[url] = True
        return [
            Found(
                url=url,
                page_type="homepage" if url == home.url else page_type(url),
                listed=listed,
            )
            for url, listed in urls.items()
            if (same_site(url, row.domain) or same_site(url, site))
            and (url == home.url or page_type(url) != "homepage")
        ]

    async def _listed(self, host: str) -> list[str]:
        """Return what sitemaps list; a site without any has links alone."""
        rules = await self._polite.rules(host)
        queue = list(rules.sitemaps) or [f"{host}/sitemap.xml"]
        seen: set[str] = set()
        found: list[str] = []
        while queue and len(seen) < _MOST_SITEMAPS:
            url = queue.pop(0)
            if url in seen or not same_site(url, urlsplit(host).netloc):
                continue
            seen.add(url)
            try:
                answer = await self._polite.get(url, most_bytes=_MOST_SITEMAP_BYTES)
            except AegisError:
                continue
            if answer.status != 200:
                continue
            listed, further = read_sitemap(unpack(answer.body, most=_MOST_SITEMAP_BYTES))
            clean = (join(host, link) for link in listed)
            found += [link for link in clean if link is not None]
            queue += further
        return found

    async def _exists(self, url: str) -> bool:
        try:
            return (await self._polite.get(url)).status == 200
        except AegisError:
            return False

    async def _record(
        self, row: CompetitorRow, token: int | None, new: Sequence[Found], found: int
    ) -> Discovered:
        watched = [] if row.known else _to_watch(new)
        proposed = [page for page in new if page not in watched]
        made: list[int] = []
        next_s = _EVERY_S * random.uniform(0.95, 1.05)  # noqa: S311 (spreads looks)
        async with self._db.transaction() as conn:
            held = await competitors.finish_discovery(
                conn, row.id, token, next_s=next_s, failures=0, error=None
            )
            if not held:
                return Discovered(competitor_id=row.id, found=found)
            await competitors.lock_competitor(conn, row.id)
            watching = await pages.add_pages(conn, row.id, watched, state="watched")
            proposing = await pages.add_pages(conn, row.id, proposed, state="proposed")
            if row.known:
                for page_id in proposing:
                    page = await pages.get_page(conn, page_id)
                    change = page_change("new_page", page.url, page.page_type)
                    due = change.importance == "high"
                    made.append(await changes.add_change(conn, page_id, change, telling_due=due))
        return Discovered(
            competitor_id=row.id,
            found=found,
            watched=tuple(watching),
            proposed=tuple(proposing),
            changes=tuple(made),
        )

    async def _note(self, row: CompetitorRow, token: int | None, error: AegisError) -> None:
        async with self._db.transaction() as conn:
            await competitors.finish_discovery(
                conn,
                row.id,
                token,
                next_s=min(_RETRY_S * 4.0 ** min(row.failures, 5), _EVERY_S),
                failures=row.failures + 1,
                error=error.message[:500].replace("\x00", ""),
            )


def _to_watch(found: Sequence[Found]) -> list[Found]:
    left = dict(_WATCHED)
    chosen: list[Found] = []
    for page in found:
        if left.get(page.page_type, 0) > 0:
            left[page.page_type] -= 1
            chosen.append(page)
    return chosen
