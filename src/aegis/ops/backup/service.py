"""Backups as one object: what the command line, the API and the schedule call.

Everything runs in a thread, since it is programs and files; a call that is cancelled ends what it
started. Nothing here needs the database to be up but making a backup.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from aegis.db.server import owner_endpoint
from aegis.errors import AegisError, Conflict, InvalidInput
from aegis.ops.backup.catalogue import Catalogue
from aegis.ops.backup.copying import pull, push, stamp_of
from aegis.ops.backup.creating import Wish, create
from aegis.ops.backup.crypto import KeyRing
from aegis.ops.backup.destinations import open_destination
from aegis.ops.backup.drilling import drill
from aegis.ops.backup.mirror import mirror
from aegis.ops.backup.noting import note_files, noted_prune, noted_restore, noter_of
from aegis.ops.backup.proving import verify_full
from aegis.ops.backup.pruning import Pruned, plan_prune, prune
from aegis.ops.backup.reading import verify_fast
from aegis.ops.backup.rekeying import rekey
from aegis.ops.backup.threads import in_thread
from aegis.ops.restore.models import Plan, Restored, Wanted
from aegis.ops.restore.running import Job, open_entry, open_file, prepare, run
from aegis.security.audit.backing_up import anchor_in_backup, keep_anchor
from aegis.security.audit.recording import make_note
from aegis.security.audit.restoring import accept_restored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from pathlib import Path

    from aegis.config import Settings
    from aegis.ops.backup.models import Drill, Entry, State
    from aegis.security.audit.recording import Note

__all__ = ["BEFORE_UPGRADE", "Backups"]

#: Label of the backups that an upgrade of the schema makes.
BEFORE_UPGRADE = "before-upgrade"


class Backups:
    """The backups of the database that `settings` name.

    `smoke` asks Aegis on a restored database, and returns what was answered; `tell` is told how
    far long work has come.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        smoke: Callable[[str], Awaitable[str]] | None = None,
        tell: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.settings = settings
        self.catalogue = Catalogue(settings.backup_dir or settings.data_dir / "backups")
        self._smoke = smoke
        self._tell = tell
        self._running: set[asyncio.Task[Entry]] = set()

    @cached_property
    def keys(self) -> KeyRing:
        """The keys that encrypt (`ConfigError`)."""
        return KeyRing.parse(self.settings.backup_keys)

    def wish(self, label: str = "manual") -> Wish:
        """Return how the settings want a backup made."""
        settings = self.settings
        return Wish(
            label=label,
            format=settings.backup_format,
            jobs=settings.backup_jobs if settings.backup_format == "directory" else 1,
            compression=settings.backup_compression,
            encrypt=settings.backup_encrypt == "yes",
        )

    async def list(self) -> Sequence[Entry]:
        """Return every backup, newest first."""
        return await in_thread(lambda _: self.catalogue.entries())

    async def get(self, name: str) -> Entry:
        """Return one backup; `latest` is the newest that did not fail (`NotFound`)."""
        return await in_thread(lambda _: self.catalogue.get(name))

    async def drills(self) -> Sequence[Drill]:
        """Return the drills so far, oldest first."""
        return await in_thread(lambda _: self.catalogue.drills())

    async def create(self, wish: Wish | None = None, *, verify: bool = True) -> Entry:
        """Make a backup, read it back (`verify`), and return it.

        Raises:
            Conflict: `backup_running`.
            OpsError, ConfigError, Unavailable: it could not be made; nothing is left of it.
        """
        wanted = wish or self.wish()

        def work(stop: threading.Event) -> Entry:
            dsn = self.settings.backup_url or owner_endpoint(self.settings)
            entry = create(
                dsn, self.catalogue, wanted, self.keys, stop=stop, tell=self._tell,
                anchor=lambda conn, at: anchor_in_backup(conn, self.settings, at),
            )  # fmt: skip
            keep_anchor(self.settings, entry.manifest.audit_anchor if entry.manifest else None)
            if verify:
                entry = self._verify(entry, False, stop)
            self._mirror(self.settings.database_url or dsn)
            return entry

        return await in_thread(work)

    async def begin(self, wish: Wish | None = None) -> None:
        """Start a backup and return; `list` has it when it is done.

        Raises:
            Conflict: `backup_running`, one that was begun here is not done yet.
        """
        if self._running:
            raise Conflict("Another backup is at work; wait for its end.", code="backup_running")
        task = asyncio.create_task(self.create(wish))
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def settled(self) -> None:
        """Wait until what `begin` started is over, however it ended."""
        if self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[Entry]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            import logging

            logging.getLogger("aegis.backup").warning("backup_failed: %s", error)

    async def verify(self, name: str = "latest", *, full: bool = False) -> Entry:
        """Look at a backup, by restoring it if `full`, and return it with the verdict.

        Raises:
            NotFound: there is no such backup.
            Conflict: `backup_elsewhere`.
        """

        def work(stop: threading.Event) -> Entry:
            entry = self.catalogue.get(name)
            if not entry.local:
                raise Conflict(
                    f"The files of {entry.name} are not here any more; `aegis backup pull "
                    f"{entry.name}` fetches them.",
                    code="backup_elsewhere",
                )
            entry = self._verify(entry, full, stop)
            self._mirror(None)
            return entry

        return await in_thread(work)

    def _verify(self, entry: Entry, full: bool, stop: threading.Event) -> Entry:
        with self.catalogue.in_use(entry):
            if full:
                found = verify_full(
                    entry, self.keys, self.settings, smoke=self._smoke, stop=stop, tell=self._tell
                )
            else:
                found = verify_fast(entry, self.keys, stop=stop, tell=self._tell)
        return self.catalogue.note_verification(entry.name, found)

    async def hold(self, name: str, reason: str | None) -> Entry:
        """Keep a backup from being pruned, or (None) let it go again (`NotFound`)."""
        if reason is not None and (not reason.strip() or len(reason) > 500):
            raise InvalidInput("A hold needs a reason of 1 to 500 characters.")

        def change(state: State) -> State:
            return replace(state, hold=reason)

        def work(_: threading.Event) -> Entry:
            entry = self.catalogue.change(self.catalogue.get(name).name, change)
            self._mirror(None)
            action = "backup.release" if reason is None else "backup.hold"
            self._note(make_note(action, "backup", entry.name))
            return entry

        return await in_thread(work)

    async def plan_prune(self) -> Sequence[Pruned]:
        """Return what pruning would remove, and why the others stay; changes nothing."""
        return await in_thread(lambda _: plan_prune(self.catalogue, self.settings))

    async def prune(self) -> Sequence[Pruned]:
        """Remove what retention lets go, here and at the destination; return what became of each.

        Raises:
            Conflict: `backup_running`.
            Unavailable: the destination does not answer; what was here is pruned already.
        """

        def work(_: threading.Event) -> Sequence[Pruned]:
            done = prune(self.catalogue, self.settings, None)
            self._note(*noted_prune(done))
            if self.settings.backup_destination is not None:
                with open_destination(self.settings) as place:
                    done = prune(self.catalogue, self.settings, place)
                self._note(*noted_prune(done))
            self._mirror(None)
            return done

        return await in_thread(work)

    async def push(self, name: str = "latest") -> Entry:
        """Copy a backup to the destination; it counts once all of it was read back and compared.

        Raises:
            OpsError: `upload_lost`, `backup_damaged`.
            Unavailable: it does not answer; the next push goes on where this one was.
        """

        def work(stop: threading.Event) -> Entry:
            entry = self.catalogue.get(name)
            with open_destination(self.settings) as place:
                entry = push(self.catalogue, entry, place, stop=stop, tell=self._tell)
            self._mirror(None)
            return entry

        return await in_thread(work)

    async def remote(self) -> Sequence[str]:
        """Return the names of the backups at the destination, oldest first."""

        def work(_: threading.Event) -> Sequence[str]:
            with open_destination(self.settings) as place:
                return place.names()

        return await in_thread(work)

    async def pull(self, name: str) -> Entry:
        """Fetch a backup from the destination; compared with its manifest before it is listed.

        Raises:
            NotFound: it is not there.
            OpsError: `backup_damaged`.
        """

        def work(stop: threading.Event) -> Entry:
            with open_destination(self.settings) as place:
                return pull(self.catalogue, name, place, stop=stop, tell=self._tell)

        return await in_thread(work)

    async def drill(self, name: str = "latest", *, remote: bool = False) -> Drill:
        """Time a full recovery of a backup, with `remote` from its copy; remember the figures.

        Raises:
            NotFound: there is no such backup.
        """

        def work(stop: threading.Event) -> Drill:
            with self._fetching(name, remote, stop) as (catalogue, fetch):
                done = drill(
                    catalogue,
                    self.keys,
                    self.settings,
                    fetch,
                    source=self.settings.backup_destination or "" if remote else "local",
                    smoke=self._smoke,
                    stop=stop,
                    tell=self._tell,
                )
            if remote:
                self.catalogue.note_drill(done)
            self._mirror(None)
            return done

        return await in_thread(work)

    @contextmanager
    def _fetching(
        self, name: str, remote: bool, stop: threading.Event
    ) -> Generator[tuple[Catalogue, Callable[[], Entry]]]:
        """Yield where a drill takes its backup from: the folder, or a fresh one."""
        if not remote:
            yield self.catalogue, lambda: self.catalogue.get(name)
            return
        with ExitStack() as stack:
            fresh = Catalogue(stack.enter_context(self.catalogue.drilling()))
            place = stack.enter_context(open_destination(self.settings))

            def fetch() -> Entry:
                names = place.names()
                wanted = name
                if name == "latest":
                    wanted = max(names, key=stamp_of) if names else name
                return pull(fresh, wanted, place, stop=stop, tell=self._tell)

            yield fresh, fetch

    async def rekey(self) -> int:
        """Wrap every data key here by the newest key, and return how many were changed.

        Copies elsewhere keep the old one until they are pushed again: keep the old key till then.

        Raises:
            ConfigError: a backup's key is not among ours; nothing was changed of it.
        """

        def work(_: threading.Event) -> int:
            count = rekey(self.catalogue, self.keys)
            if count:
                self._note(make_note("backup.rekey", "backup", None, backups=count))
            return count

        return await in_thread(work)

    async def plan_restore(self, source: str | Path, wanted: Wanted) -> Plan:
        """Return what a restore of a backup, or of a file of pg_dump, would do; changes nothing.

        Raises:
            NotFound, OpsError: there is no such backup, or it is damaged.
            InvalidInput: the tables refer to others (`restore_references`).
        """

        def work(_: threading.Event) -> Plan:
            with self._restoring(source, wanted) as job:
                return job.plan

        return await in_thread(work)

    async def restore(self, source: str | Path, wanted: Wanted) -> Restored:
        """Restore a backup, or a file of pg_dump.

        Raises:
            Conflict: `restore_refused`, the plan has problems; `restore_running`.
            OpsError: it failed; the database that was there is as it was, and nothing else is left.
        """

        def work(stop: threading.Event) -> Restored:
            with self._restoring(source, wanted) as job:
                done = run(job, stop=stop, tell=self._tell, filled=noter_of(job, self.settings))
            if job.plan.mode == "in_place":
                self._mirror(None)
                accept_restored(self._address(), self.settings)
            elif job.plan.mode != "tables_in_place":
                # Whoever has a copy beside it has its rows: that is for the log of the first, too.
                self._note(noted_restore(job))
            return done

        return await in_thread(work)

    @contextmanager
    def _restoring(self, source: str | Path, wanted: Wanted) -> Generator[Job]:
        dsn = owner_endpoint(self.settings)
        if not isinstance(source, str):
            with open_file(source) as opened:
                yield prepare(dsn, opened, wanted)
            return
        entry = self.catalogue.get(source)
        with self.catalogue.in_use(entry), open_entry(entry, self.keys) as opened:
            yield prepare(dsn, opened, wanted)

    def _note(self, *notes: Note) -> None:
        note_files(self._address, self.settings, *notes)

    def _mirror(self, dsn: str | None) -> None:
        """Let the tables follow; a database that is down does not make a backup less good."""
        import logging

        try:
            if dsn is None:
                dsn = self._address()
            if dsn is not None:
                mirror(dsn, self.catalogue.entries(), self.catalogue.drills())
        except AegisError as error:
            logging.getLogger("aegis.backup").warning("backup_mirror_failed: %s", error)

    def _address(self) -> str | None:
        """Return where the database is, None where it is not running: it is not started for it."""
        if self.settings.database_url is not None:
            return self.settings.database_url
        from aegis.db import embedded

        return embedded.find_dsn(self.settings)
