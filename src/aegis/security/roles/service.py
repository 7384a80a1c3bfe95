"""Roles as one object: what would be done, doing it, and whether it holds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.db.database import Database
from aegis.db.revision import require_current, schema_state
from aegis.db.scram import make_verifier, matches
from aegis.errors import InvalidInput, OpsError
from aegis.security.audit.recording import audited, note
from aegis.security.roles import passwords
from aegis.security.roles.description import ROLES, names
from aegis.security.roles.models import Applied
from aegis.security.roles.planning import plan
from aegis.security.roles.store import role_steps
from aegis.security.roles.store import roles as store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.security.roles.models import Kind, State, Step
    from aegis.security.roles.store.role_steps import Act

__all__ = ["Roles", "address_of_admin"]


def address_of_admin(settings: Settings, url: str | None = None) -> str:
    """Return where roles are made: `url`, the owner's address, or the database's."""
    from aegis.db.server import owner_endpoint

    return url or owner_endpoint(settings)


class Roles:
    """The roles of one server and their rights in one database.

    `dsn` is how an administrator reaches it.
    """

    def __init__(self, dsn: str, settings: Settings) -> None:
        self._dsn = dsn
        self._settings = settings
        self.names = names(settings.role_prefix)
        self.folder = settings.roles_dir or settings.data_dir / "roles"

    async def plan(self, *, shared: bool = False) -> Sequence[Step]:
        """Return what `apply` would do now, in order; nothing for nothing (`OpsError`)."""
        async with self._open() as db, db.transaction() as conn:
            state = await self._state(conn)
            acts = [*plan(state, self._settings.role_prefix, shared=shared)]
            acts += await self._new_passwords(conn, state, make=False)
        return [act.step for act in acts]

    async def apply(self, *, shared: bool = False, rotate: Sequence[Kind] = ()) -> Applied:
        """Make the server as the description says, in one transaction, and return what was done.

        `rotate` makes new passwords for these. `shared` leaves everybody the right to connect.

        Raises:
            OpsError: `roles_forbidden`, the user may not; `schema_…`, the schema does not fit.
            ConfigError: `role_password`, a file of a password is not as it has to be.
            Unavailable: `db_lock_timeout`, a table is in use; nothing was done.
        """
        for kind in rotate:
            if not ROLES[kind].login:
                raise InvalidInput(f"{self.names[kind]} cannot log in and has no password.")
        async with self._open() as db:
            # A look before anything is written.
            async with db.transaction() as conn:
                state = await self._state(conn)
                self._require_power(state, plan(state, self._settings.role_prefix, shared=shared))
            for kind in rotate:
                passwords.write_file(self.folder / self.names[kind], passwords.new_password())
            async with audited(db) as conn:
                await store.lock(conn)
                await store.wait_little(conn)
                state = await self._state(conn)
                acts = plan(state, self._settings.role_prefix, shared=shared)
                self._require_power(state, acts)
                if state.superuser:
                    acts += await self._new_passwords(conn, state, make=True)
                for act in acts:
                    await role_steps.perform(conn, act)
                if acts or rotate:
                    note(
                        conn, "security.roles_apply", "roles", self._settings.role_prefix,
                        steps=len(acts), rotated=sorted(rotate),
                    )  # fmt: skip
        files = {
            name: self.folder / name
            for kind, name in self.names.items()
            if ROLES[kind].login and (self.folder / name).exists()
        }
        return Applied(done=True, steps=[act.step for act in acts], passwords=files)

    async def regrant(self) -> Sequence[Step]:
        """Give the rights on what a revision made; nothing in a database without these roles.

        The owner of the tables may, too. What needs a superuser is left for `apply`.
        """
        async with self._open() as db, db.transaction() as conn:
            if not await store.has_notes(conn):
                return ()
            await store.lock(conn)
            state = await self._state(conn)
            if set(state.noted) != set(self.names) or not set(self.names.values()) <= set(
                state.roles
            ):
                return ()
            acts = plan(state, self._settings.role_prefix, shared=True)
            mine = [act for act in acts if state.superuser or act.step.needs == "owner"]
            for act in mine:
                await role_steps.perform(conn, act)
        return [act.step for act in mine]

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Database]:
        settings = replace(self._settings, application_name="aegis-security")
        async with await Database.open(self._dsn, settings, min_size=1) as db:
            yield db

    async def _state(self, conn: Connection) -> State:
        require_current(await schema_state(conn))
        return await store.read_state(conn, [*self.names.values()])

    def _require_power(self, state: State, acts: Sequence[Act]) -> None:
        """Refuse in one line where the user may not do it (`OpsError`)."""
        if state.superuser:
            return
        owners = {r.owner for r in state.relations}
        missing = [
            act.step.what for act in acts if act.step.needs == "superuser" or owners - {state.user}
        ]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise OpsError(
                f"{state.user} is no superuser and may not {missing[0]}{more}. Give a superuser's "
                "address with --url, or let one run what `aegis security apply --dry-run` prints.",
                code="roles_forbidden",
            )

    async def _new_passwords(self, conn: Connection, state: State, *, make: bool) -> list[Act]:
        acts: list[Act] = []
        for kind, name in self.names.items():
            if not ROLES[kind].login:
                continue
            kept = await store.read_password(conn, name) if state.superuser else None
            password = passwords.read_file(self.folder / name)
            if password is None and kept is not None:
                # It was set from another machine: a new one would lock out who uses it.
                continue
            if make:
                password, _ = passwords.password_of(self.folder, name)
            password = password or ""
            if not matches(kept, password):
                verifier = make_verifier(password)
                acts.append(role_steps.set_password(name, verifier))
        return acts

    def password_file(self, kind: Kind) -> Path:
        """Return where the password of a role is kept."""
        return self.folder / self.names[kind]
