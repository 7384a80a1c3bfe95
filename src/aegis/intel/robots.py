"""robots.txt, as RFC 9309 reads it: who has none allows all, who cannot say forbids all."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis.errors import AegisError, ConfigError, PermissionDenied
from aegis.intel.fetching import MOST_REDIRECTS, Answer, is_redirect
from aegis.intel.store import hosts
from aegis.intel.urls import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protego import Protego

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.fetching import Fetcher

__all__ = ["Polite", "Rules", "read_rules"]

#: How long an answer is used; where there was none, it is asked for again sooner.
_FRESH, _FRESH_WITHOUT = timedelta(hours=24), timedelta(hours=1)
#: RFC 9309, 2.5: at least so much of the file is read.
_MOST_BYTES = 512 * 1024
#: What a `Crawl-delay` may ask for; beyond it a site would never be checked.
_MOST_DELAY_S = 30.0
_MOST_KNOWN = 2_000


class Rules:
    """What a host allows us."""

    def __init__(self, text: str | None, *, status: int, agent: str) -> None:
        self._agent = agent
        parser = _protego()
        self._parsed: Protego | None = None
        self.open = text is None and 300 <= status < 500 and status != 429
        if text is not None:
            self._parsed = parser.parse(text)

    def allows(self, url: str) -> bool:
        """Return whether an address may be asked for."""
        return self.open if self._parsed is None else self._parsed.can_fetch(url, self._agent)

    @property
    def delay_s(self) -> float:
        """Return the seconds between requests that the host asks for."""
        if self._parsed is None:
            return 0.0
        wanted = self._parsed.crawl_delay(self._agent) or 0.0
        return min(max(float(wanted), 0.0), _MOST_DELAY_S)

    @property
    def sitemaps(self) -> Sequence[str]:
        """Return the sitemaps that it names."""
        return [] if self._parsed is None else list(self._parsed.sitemaps)


def read_rules(text: str | None, *, status: int, user_agent: str) -> Rules:
    """Return the rules for the product that `user_agent` begins with."""
    return Rules(text, status=status, agent=user_agent.split("/")[0].split(" ")[0])


def _clock() -> datetime:
    return datetime.now(UTC)


class Polite:
    """A fetcher that follows redirects and asks each host's robots.txt first."""

    def __init__(
        self,
        db: Database,
        fetcher: Fetcher,
        settings: Settings,
        *,
        now: Callable[[], datetime] = _clock,
    ) -> None:
        self._db = db
        self._fetcher = fetcher
        self._settings = settings
        self._now = now
        self._known: dict[str, tuple[Rules, datetime]] = {}

    async def get(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        most_bytes: int | None = None,
    ) -> Answer:
        """Return the answer after redirects, each of which is allowed.

        Raises:
            PermissionDenied: robots.txt forbids it (`intel_robots`), or the address is not public.
            Unavailable, LimitExceeded: nothing usable came.
        """
        for _ in range(MOST_REDIRECTS + 1):
            rules = await self.rules(host_of(url))
            if not rules.allows(url):
                raise PermissionDenied(
                    f"robots.txt of {host_of(url)} does not allow {url}.", code="intel_robots"
                )
            answer = await self._fetcher.get(
                url,
                etag=etag,
                last_modified=last_modified,
                delay_s=max(self._settings.intel_delay_s, rules.delay_s),
                most_bytes=most_bytes,
            )
            if not is_redirect(answer) or answer.url == url:
                return answer
            url = answer.url
        raise PermissionDenied(
            f"{url} is more than {MOST_REDIRECTS} redirects away.", code="intel_redirect"
        )

    async def rules(self, host: str) -> Rules:
        """Return what a host allows, asking it where that is not known or old."""
        known = self._known.get(host)
        if known is not None and self._now() < known[1]:
            return known[0]
        async with self._db.transaction() as conn:
            stored = await hosts.find_robots(conn, host)
        if stored is None or self._now() >= stored.robots_at + _fresh(stored.robots_status):
            text, status = await self._ask(host)
            async with self._db.transaction() as conn:
                await hosts.set_robots(conn, host, robots=text, status=status)
            until = self._now() + _fresh(status)
        else:
            text, status = stored.robots, stored.robots_status
            until = stored.robots_at + _fresh(status)
        rules = read_rules(text, status=status, user_agent=self._settings.intel_user_agent)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[host] = (rules, until)
        return rules

    async def _ask(self, host: str) -> tuple[str | None, int]:
        """Return robots.txt and the status; 0 where there was no answer."""
        url = f"{host}/robots.txt"
        try:
            for _ in range(MOST_REDIRECTS + 1):
                answer = await self._fetcher.get(url, most_bytes=_MOST_BYTES)
                if not is_redirect(answer) or answer.url == url:
                    break
                url = answer.url
            else:
                return None, 404
        except PermissionDenied:
            # It is we who may not ask; the host has said nothing.
            raise
        except AegisError as error:
            if error.code == "outbound_size":
                # Whoever writes so much is not read, and not disobeyed.
                return "User-agent: *\nDisallow: /\n", 200
            return None, 0
        if answer.status == 200:
            # A character that PostgreSQL cannot hold says nothing in a rule.
            return answer.text.replace("\x00", ""), 200
        return None, answer.status


def _fresh(status: int) -> timedelta:
    return _FRESH if 200 <= status < 500 and status != 429 else _FRESH_WITHOUT


def _protego() -> type[Protego]:
    """Return the parser; robots.txt comes before every page, so this is where the extra is missed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        for name in ("selectolax", "trafilatura"):
            # Loaded where a page is read; here it is only seen that they are there.
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
        from protego import Protego
    except ImportError as error:
        raise ConfigError(
            f"Reading websites needs the package {error.name}; install it with "
            "`pip install 'aegis-core[intel]'`.",
            code="extra_missing",
        ) from None
    return Protego
