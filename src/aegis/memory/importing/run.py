"""One run of an import: take a chunk from the parser, record it, report, until the end.

Parsers block (files, a subprocess), so each chunk is taken in a worker thread. A chunk is bounded
in items and in bytes, whatever the input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory import bulk, validate
from aegis.memory.importing.beside import Beside, BesideRun
from aegis.memory.importing.exported_facts import ExportedFact, check_exported
from aegis.memory.importing.fact_run import FactRun
from aegis.memory.importing.id_map import IdMap
from aegis.memory.importing.items import (
    MAX_LISTED,
    BrokenItem,
    ImportedDecision,
    ImportReport,
    Item,
    PassedOver,
    Progress,
)
from aegis.memory.models import FEEDBACK, OUTCOMES, NewEpisode, NewFact
from aegis.memory.store import episodes as store
from aegis.memory.store import transfer
from aegis.memory.store.decisions import link_episodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Protocol

    from aegis.db import Connection
    from aegis.memory.importing.items import Event, Source
    from aegis.memory.models import DecisionEpisode
    from aegis.memory.service import Memory

    class _Originals(Protocol):
        async def __call__(
            self, conn: Connection, namespace: str, exported: Mapping[int, datetime]
        ) -> set[int]: ...


__all__ = ["run"]

CHUNK_ITEMS = bulk.BATCH_SIZE
CHUNK_BYTES = 8 * 2**20
#: Lines without a memory in them can be many: progress is told after this many events at least.
CHUNK_EVENTS = 20_000


async def run(
    memory: Memory,
    open_source: Callable[[], Source],
    *,
    kind: str,
    path: str,
    namespace: str | None,
    on_progress: Callable[[Progress], object] | None,
    skip_broken: bool,
    embed: bool,
) -> ImportReport:
    """Import a source; see `aegis.memory.importing.import_path`."""
    source = await anyio.to_thread.run_sync(open_source)
    run = _Run(memory, namespace or memory.namespace, embed=embed, skip_broken=skip_broken)
    try:
        while chunk := await anyio.to_thread.run_sync(_take, source.events, memory):
            broken = run.sort(chunk)
            await run.record()
            if broken is not None:
                raise run.stopped_by(broken)
            if on_progress is not None:
                on_progress(run.progress(chunk[-1].position, source))
    finally:
        # A generator that is not exhausted holds a file or a subprocess.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(getattr(source.events, "close", lambda: None))
    await run.link_forward()
    if on_progress is not None and run.position < source.total:
        on_progress(run.progress(source.total, source))
    return ImportReport(
        kind=kind,
        path=path,
        namespaces=sorted(run.namespaces),
        read=run.recorded + run.skipped + run.broken_count,
        recorded=run.recorded,
        skipped=run.skipped,
        broken_count=run.broken_count,
        broken=run.broken,
        passed_over=run.passed_over,
        dangling=run.dangling,
    )


def _take(events: Iterator[Event], memory: Memory) -> list[Event]:
    chunk: list[Event] = []
    items = size = 0
    for event in events:
        checked = _checked(event, memory) if isinstance(event, Item) else event
        chunk.append(checked)
        if isinstance(checked, Item):
            items += 1
            size += checked.size
        if items >= CHUNK_ITEMS or size >= CHUNK_BYTES or len(chunk) >= CHUNK_EVENTS:
            break
    return chunk


def _checked(item: Item, memory: Memory) -> Item | BrokenItem:
    try:
        match item.value:
            case NewEpisode() as episode:
                bulk.check(episode, memory.embedder)
            case NewFact() as fact:
                validate.check_fact(fact)
            case ExportedFact() as exported:
                check_exported(exported)
            case ImportedDecision() as decision:
                _check_decision(decision)
            case Beside():
                pass  # checked when it was read
    except InvalidInput as error:
        return BrokenItem(place=item.place, reason=str(error), position=item.position)
    return item


def _check_decision(decision: ImportedDecision) -> None:
    # A database of the seed's may hold decisions that `record` would refuse: only types count.
    for name in ("task_context", "chosen_option", "reasoning"):
        validate.check_text(name, getattr(decision, name), most=validate.MAX_SUMMARY)
    if decision.lessons_learned is not None:
        validate.check_text("lessons_learned", decision.lessons_learned, most=validate.MAX_SUMMARY)
    validate.check_json_object("alternatives", {"alternatives": decision.alternatives})
    validate.check_json_object("outcome_details", decision.outcome_details)
    validate.check_choice("outcome_status", decision.outcome_status, OUTCOMES)
    if decision.user_feedback is not None:
        validate.check_choice("user_feedback", decision.user_feedback, FEEDBACK)
    if decision.confidence is not None:
        validate.check_confidence(decision.confidence)
    for name in ("created_at", "resolved_at", "review_at"):
        value = getattr(decision, name)
        if value is not None:
            validate.check_time(name, value)
    if decision.episode is not None:
        validate.check_episode(decision.episode)


class _Run:
    """What an import has done so far, and the items of the chunk in hand."""

    def __init__(self, memory: Memory, namespace: str, *, embed: bool, skip_broken: bool) -> None:
        self._memory = memory
        self._namespace = namespace
        self._embed = embed
        self._skip_broken = skip_broken
        self._ids = IdMap()
        self._fact_run = FactRun(memory, namespace, embed=embed)
        self._beside_run = BesideRun(memory, namespace)
        self._forward: list[tuple[int, tuple[int, ...]]] = []
        self._episodes: list[Item] = []
        self._facts: list[Item] = []
        self._decisions: list[ImportedDecision] = []
        self._beside: list[Beside] = []
        self.namespaces: set[str] = set()
        self.position = 0
        self.recorded = self.skipped = self.broken_count = self.dangling = 0
        self.broken: list[BrokenItem] = []
        self.passed_over: dict[str, int] = {}

    def progress(self, position: int, source: Source) -> Progress:
        # An answer in a transcript is handed on after lines that stand behind it; and a file that
        # grows is read further than it was long.
        self.position = min(max(self.position, position), source.total)
        return Progress(
            done=self.position,
            total=source.total,
            unit=source.unit,
            recorded=self.recorded,
            skipped=self.skipped,
            broken=self.broken_count,
        )

    def stopped_by(self, broken: BrokenItem) -> InvalidInput:
        """Return the error that ends the import."""
        return InvalidInput(
            f"{broken.place}: {broken.reason.rstrip('.')}. {self.recorded + self.skipped} "
            "before it are recorded; correct it and import again, or skip what is broken.",
            code="import_broken",
        )

    def sort(self, chunk: Sequence[Event]) -> BrokenItem | None:
        """Sort a chunk by what is to be done; return the broken item that ends the import."""
        self._episodes, self._facts, self._decisions, self._beside = [], [], [], []
        for event in chunk:
            match event:
                case Item(value=NewEpisode()):
                    self._episodes.append(event)
                case Item(value=NewFact() | ExportedFact()):
                    self._facts.append(event)
                case Item(value=ImportedDecision() as decision):
                    self._decisions.append(decision)
                case Item(value=Beside() as beside):
                    self._beside.append(beside)
                case PassedOver(what=what):
                    self.passed_over[what] = self.passed_over.get(what, 0) + 1
                case BrokenItem():
                    if not self._skip_broken:
                        return event
                    self._pass_over(event)
                case _:
                    raise AssertionError(event)
        return None

    def _pass_over(self, broken: BrokenItem) -> None:
        self.broken_count += 1
        if len(self.broken) < MAX_LISTED:
            self.broken.append(broken)

    async def record(self) -> None:
        """Record the chunk in hand: episodes first, decisions refer to them."""
        if self._episodes:
            await self._record_episodes()
        if self._facts:
            recorded, skipped = await self._fact_run.record(self._facts, self._ids.find)
            self.recorded += recorded
            self.skipped += skipped
        for decision in self._decisions:
            await self._record_decision(decision)
        if self._beside:
            recorded, skipped = await self._beside_run.record(self._beside)
            self.recorded += recorded
            self.skipped += skipped
        if self._facts or self._decisions or self._beside:
            self.namespaces.add(self._namespace)

    async def _record_episodes(self) -> None:
        items = await self._without_originals(self._episodes, transfer.list_original_episodes)
        left_out = {item.old_id for item in self._episodes} - {item.old_id for item in items}
        for old_id in sorted(old for old in left_out if old is not None):
            self._ids.add(old_id, old_id)
        sources = {item.old_id: _episode(item).source_id for item in items if item.old_id}
        try:
            await self._record_together(items, sources)
        except InvalidInput:
            # PostgreSQL refused what the checks let through: find out which one it was.
            for item in items:
                await self._record_alone(item, sources)
        self.namespaces |= {_episode(item).namespace or self._namespace for item in items}
        if sources:
            await self._remember(items)

    async def _record_together(
        self, items: Sequence[Item], sources: Mapping[int, str | None]
    ) -> None:
        result = await self._memory.record_many(
            [self._resolved(item, sources) for item in items],
            embed=self._embed,
            batch_size=max(1, len(items)),
        )
        self.recorded += result.recorded
        self.skipped += result.skipped

    async def _record_alone(self, item: Item, sources: Mapping[int, str | None]) -> None:
        try:
            await self._record_together([item], sources)
        except InvalidInput as error:
            broken = BrokenItem(place=item.place, reason=error.message, position=item.position)
            if not self._skip_broken:
                raise self.stopped_by(broken) from None
            self._pass_over(broken)

    async def _without_originals(self, items: list[Item], list_originals: _Originals) -> list[Item]:
        """Leave out those that are the very rows that were exported."""
        exported = {
            item.old_id: item.old_created_at
            for item in items
            if item.old_id is not None and item.old_created_at is not None
        }
        if not exported:
            return items
        async with self._memory.database.transaction() as conn:
            there = await list_originals(conn, self._namespace, exported)
        self.skipped += len(there)
        return [item for item in items if item.old_id not in there]

    def _resolved(self, item: Item, sources: Mapping[int, str | None]) -> NewEpisode:
        """Return the episode with its namespace and, as far as they are known, its relations."""
        episode = _episode(item)
        known = [new for old in item.related_old_ids if (new := self._ids.find(old)) is not None]
        beside = [source for old in item.related_old_ids if (source := sources.get(old))]
        return replace(
            episode,
            namespace=episode.namespace or self._namespace,
            related_memories=known or episode.related_memories,
            related_sources=beside or episode.related_sources,
        )

    async def _remember(self, items: list[Item]) -> None:
        """Note the new ids of exported episodes, and relations to what is yet to come."""
        keys = [source for item in items if (source := _episode(item).source_id)]
        async with self._memory.database.transaction() as conn:
            new = await store.list_known_sources(conn, self._namespace, keys)
        for item in items:
            row_id = new.get(_episode(item).source_id or "")
            if item.old_id is not None and row_id is not None:
                self._ids.add(item.old_id, row_id)
        for item in items:
            row_id = new.get(_episode(item).source_id or "")
            ahead = any(self._ids.find(old) is None for old in item.related_old_ids)
            if ahead and row_id is not None:
                self._forward.append((row_id, item.related_old_ids))

    async def link_forward(self) -> None:
        """Relate episodes to later ones of the same file."""
        links: list[tuple[int, list[int]]] = []
        for row_id, old_ids in self._forward:
            new = [found for old in old_ids if (found := self._ids.find(old)) is not None]
            self.dangling += len(old_ids) - len(new)
            links.append((row_id, new))
        if links:
            async with self._memory.database.transaction() as conn:
                for row_id, related in links:
                    await transfer.set_related(conn, row_id, related)
        self.dangling += await self._fact_run.link()
        new, there, nowhere = await self._beside_run.finish(self._ids.find, self._fact_run.find)
        self.recorded += new
        self.skipped += there
        self.dangling += nowhere

    async def _record_decision(self, decision: ImportedDecision) -> None:
        episode_id = None
        if decision.old_episode_id is not None:
            episode_id = self._ids.find(decision.old_episode_id)
            self.dangling += episode_id is None
        elif decision.episode is not None:
            episode = replace(decision.episode, namespace=self._namespace)
            await self._memory.record_many([episode], embed=self._embed)
        async with self._memory.database.transaction() as conn:
            if decision.episode is not None and decision.episode.source_id:
                key = decision.episode.source_id
                known = await store.list_known_sources(conn, self._namespace, [key])
                episode_id = known.get(key)
            new = await transfer.insert_decision_once(
                conn, decision, namespace=self._namespace, episode_id=episode_id
            )
            if new is not None:
                links = self._resolved_links(decision.old_episodes)
                await link_episodes(conn, new, links, namespace=self._namespace)
        self.recorded += new is not None
        self.skipped += new is None

    def _resolved_links(self, old: Sequence[DecisionEpisode]) -> list[DecisionEpisode]:
        """Return the links with the new ids; what the file does not hold is left out."""
        links = [
            replace(link, episode_id=new)
            for link in old
            if (new := self._ids.find(link.episode_id)) is not None
        ]
        self.dangling += len(old) - len(links)
        return links


def _episode(item: Item) -> NewEpisode:
    assert isinstance(item.value, NewEpisode)
    return item.value
