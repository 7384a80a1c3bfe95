"""Rounds of measuring: read, make samples, store them; through an outage of the database, too."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput, Unavailable
from aegis.metrics.collect.reading import Rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.metrics.collect.reading import Source
    from aegis.metrics.models import Sample, Start
    from aegis.metrics.service import Metrics

__all__ = ["Collected", "Collector"]

_log = logging.getLogger("aegis.metrics")

#: Samples that wait for the database: an hour of 200 containers each 15 seconds.
_MOST_WAITING: Final = 50_000
_MOST_STARTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one round came to."""

    source: str
    samples: Sequence[Sample]
    #: Samples that are in the database now, those of rounds before included.
    recorded: int
    #: Samples that wait for the database.
    waiting: int
    #: What cannot be read, and was not told before.
    problems: Sequence[str]


class Collector:
    """Measures with one source into one database."""

    def __init__(self, metrics: Metrics, source: Source) -> None:
        self._metrics = metrics
        self._source = source
        self._rates = Rates()
        self._told: dict[str, str] = {}
        self._waiting: deque[Sample] = deque(maxlen=_MOST_WAITING)
        self._starts: deque[Start] = deque(maxlen=_MOST_STARTS)

    async def collect(self) -> Collected:
        """Do one round. Of the first, processor use is not known yet.

        An outage of the database raises nothing: samples wait, the oldest are let go after an hour
        or so, and the next round stores them.
        """
        found = await self._source.read()
        samples = self._rates.samples(found)
        problems = self._news(found.problems)
        self._waiting.extend(samples)
        self._starts.extend(self._rates.starts)
        recorded = 0
        try:
            recorded = await self._record()
        except Unavailable as error:
            if "database" not in self._told:
                self._told["database"] = error.message
                extra = {"code": error.code, "waiting": len(self._waiting)}
                _log.warning("metrics.waiting", extra=extra)
        else:
            self._told.pop("database", None)
        return Collected(
            source=self._source.name,
            samples=samples,
            recorded=recorded,
            waiting=len(self._waiting),
            problems=problems,
        )

    async def aclose(self) -> None:
        """Close the source."""
        await self._source.aclose()

    async def prime(self) -> None:
        """Read once without storing, so that the next round knows processor use."""
        self._rates.samples(await self._source.read())
        self._starts.extend(self._rates.starts)

    async def _record(self) -> int:
        batch, starts = list(self._waiting), list(self._starts)
        if not batch and not starts:
            return 0
        try:
            await self._metrics.record(batch, starts=starts)
        except InvalidInput as error:
            # The clock jumped, or a sample waited too long: what still fits is stored.
            _log.warning("metrics.left_out", extra={"why": error.message})
            now = datetime.now(UTC)
            batch = [
                sample
                for sample in batch
                if now - timedelta(days=1) < sample.timestamp < now + timedelta(minutes=5)
            ]
            await self._metrics.record(batch, starts=starts)
        self._waiting.clear()
        self._starts.clear()
        return len(batch)

    def _news(self, problems: dict[str, str]) -> list[str]:
        """Return and log the problems that are new; say once when one is over."""
        new = [f"{what}: {why}" for what, why in problems.items() if self._told.get(what) != why]
        for text in new:
            _log.warning("metrics.cannot_read", extra={"source": self._source.name, "why": text})
        for what in [w for w in self._told if w not in problems and w != "database"]:
            del self._told[what]
            _log.info("metrics.can_read_again", extra={"source": self._source.name, "what": what})
        self._told.update(problems)
        return new
