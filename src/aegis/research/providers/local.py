"""Aegis's own memory as a provider: what was recorded about a question, quoted with its ids.

No language model and no network: the report groups what recall finds by time and by what the
memories have in common, and quotes it. It costs nothing and works without any key.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import InvalidInput
from aegis.memory.validate import check_limit
from aegis.research.models import Citation, Progress, Report, Source
from aegis.research.providers import Ceilings
from aegis.research.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.memory import Episode, Memory
    from aegis.research.models import JobRow, ProviderName
    from aegis.research.providers import Restart

__all__ = ["Local", "write_report"]

_K: Final = 40
_MOST_K: Final = 200
_QUOTE: Final = 600
#: How many stand before the groups.
_BEST: Final = 3


class Local:
    """What Aegis itself remembers."""

    name: ProviderName = "local"
    restart: Restart = "same_key"
    ceilings = Ceilings(total_s=300.0, request_s=60.0, poll_s=1.0, longest_poll_s=1.0)
    model: str | None = None
    url: str | None = None

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def missing(self) -> list[str]:
        """Return nothing: it needs nothing."""
        return []

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options that it knows: `k`, how many memories are looked at."""
        for name, value in given.items():
            if name != "k":
                raise InvalidInput(f"option {name!r} is not known; local takes k.")
            check_limit("k", value, most=_MOST_K)
        return given

    def pays_next(self, job: JobRow) -> bool:  # noqa: ARG002
        """Nothing is paid."""
        return False

    async def start(self, job: JobRow, *, now: datetime) -> Progress:
        """Recall what is known of the question and write it down."""
        from aegis.memory.block import relevant

        hits = await self._memory.recall(
            job.query,
            k=(job.options or {}).get("k", _K),
            namespace=job.namespace,
            asked_at=now,
            count=False,
        )
        # What earlier research wrote down says nothing new.
        chosen = [h.episode for h in relevant(hits) if h.episode.event_type != "research"]
        report = write_report(chosen, warnings=hits.warnings)
        return Progress(state="completed", remote_id=job.id, report=report)

    async def poll(self, job: JobRow, *, now: datetime) -> Progress:
        """Do it again: it has no trace elsewhere."""
        return await self.start(job, now=now)

    async def cancel(self, job: JobRow, *, now: datetime) -> bool:  # noqa: ARG002
        """Return True: nothing goes on elsewhere."""
        return True

    def parse(self, document: dict[str, Any]) -> Progress:
        """Return what it says: there are no documents of its own."""
        return Progress(state="completed", report=Report(text=str(document.get("text", ""))))


def write_report(episodes: Sequence[Episode], *, warnings: Sequence[str] = ()) -> Report:
    """Return a report that quotes `episodes`, best first, each with its id."""
    if not episodes:
        return Report(
            text="Nothing that is remembered has to do with the question.",
            warnings=tuple(warnings),
        )
    first = min(episode.timestamp for episode in episodes)
    last = max(episode.timestamp for episode in episodes)
    written = _Writer()
    written.line(
        f"{len(episodes)} memories from {first:%Y-%m-%d} to {last:%Y-%m-%d} have to do with it. "
        "They are quoted as they were recorded."
    )
    if len(episodes) > _BEST:
        written.line("## What fits best")
        for episode in episodes[:_BEST]:
            written.quote(episode)
    for topic, members in _topics(episodes):
        written.line(f"## {topic}")
        for episode in sorted(members, key=lambda e: (e.timestamp, e.id)):
            written.quote(episode)
    sources = tuple(
        Source(
            kind="memory",
            episode_id=e.id,
            title=f"{e.event_type} of {e.timestamp:%Y-%m-%d}",
            snippet=e.summary,
        )
        for e in episodes
    )
    return Report(
        text=written.text(),
        sources=sources,
        citations=tuple(written.citations),
        warnings=tuple(warnings),
    )


class _Writer:
    """Paragraphs, and where in them each memory is cited."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.citations: list[Citation] = []

    def line(self, text: str) -> None:
        self._parts.append(text + "\n\n")
        self._length += len(text) + 2

    def quote(self, episode: Episode) -> None:
        said = one_line(episode.summary, most=_QUOTE) or ""
        mark = f"[e{episode.id}]"
        text = f"> {episode.timestamp:%Y-%m-%d} — {said} {mark}"
        end = self._length + len(text)
        self.citations.append(
            Citation(
                episode_id=episode.id, cited_text=said, start_char=end - len(mark), end_char=end
            )
        )
        self.line(text)

    def text(self) -> str:
        return "".join(self._parts)


def _topics(episodes: Sequence[Episode]) -> list[tuple[str, list[Episode]]]:
    """Return groups, the one with the newest memory first: by the tag that most share, or month."""
    counts = Counter(tag for e in episodes for tag in set(e.tags))
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        shared = [tag for tag in episode.tags if 1 < counts[tag] < len(episodes)]
        best = max(shared, key=lambda tag: (counts[tag], tag), default=None)
        name = f"{episode.timestamp:%B %Y}" if best is None else (one_line(best, most=80) or best)
        groups.setdefault(name, []).append(episode)
    return sorted(groups.items(), key=lambda g: max(e.timestamp for e in g[1]), reverse=True)
