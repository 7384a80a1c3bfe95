"""Logins that see one namespace's or one customer's rows, and cannot change whose.

Whose rows a connection sees is looked up by the name it logged in with (`session_user`), in a table
that no tenant can read. SET, SET ROLE and set_config change nothing about it.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis.db.database import Database
from aegis.db.revision import require_current, schema_state
from aegis.db.scram import make_verifier
from aegis.errors import Conflict, InvalidInput, NotFound, OpsError
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note
from aegis.security.roles import passwords
from aegis.security.roles.description import ROLES, names
from aegis.security.roles.planning import differing_rules
from aegis.security.roles.store import roles as store
from aegis.security.roles.store import tenants as tenant_store
from aegis.security.roles.store.role_steps import settings_of
from aegis.security.roles.wanted import wanted_rules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.security.roles.models import State, Tenant

__all__ = ["Added", "Tenants"]

#: Connections at once of one tenant, unless it is said otherwise.
_CONNECTIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A new tenant."""

    role_name: str
    namespace: str | None
    customer_id: str | None
    #: File of its password.
    password: Path


class Tenants:
    """The tenants of one database; `dsn` is how an administrator reaches it."""

    def __init__(self, dsn: str, settings: Settings) -> None:
        self._dsn = dsn
        self._settings = settings
        self._names = names(settings.role_prefix)
        self._folder = settings.roles_dir or settings.data_dir / "roles"

    async def list(self) -> Sequence[Tenant]:
        """Return the tenants, by name."""
        async with self._open() as db, db.transaction() as conn:
            return await store.list_tenants(conn)

    async def add(
        self,
        name: str,
        *,
        namespace: str | None = None,
        customer_id: str | None = None,
        connections: int = _CONNECTIONS,
    ) -> Added:
        """Make a login `PREFIX_tenant_NAME` that sees these rows alone.

        Raises:
            InvalidInput: the name, or whose rows, is wrong.
            Conflict: `tenant_exists`, there is a role of that name.
            OpsError: `roles_missing`, `aegis security apply` comes first; `roles_forbidden`.
        """
        role = self._role(name)
        _check_whose(namespace, customer_id)
        if not 1 <= connections <= 1_000:
            raise InvalidInput(f"connections is {connections}; use 1 to 1000.")
        async with self._open() as db:
            async with db.transaction() as conn:
                self._require_ready(await self._state(conn))
                if await tenant_store.role_exists(conn, role):
                    raise Conflict(
                        f"There is a role {role} already; remove it, or use another name.",
                        code="tenant_exists",
                    )
            # A file that an add left which did not end is used; what is in it opens nothing yet.
            password, _ = passwords.password_of(self._folder, role)
            async with audited(db) as conn:
                await store.lock(conn)
                state = await self._state(conn)
                self._require_ready(state)
                if await tenant_store.role_exists(conn, role):
                    raise Conflict(f"There is a role {role} already.", code="tenant_exists")
                await tenant_store.create_login(
                    conn,
                    role,
                    self._names["tenant"],
                    verifier=make_verifier(password),
                    connections=connections,
                    settings={
                        setting: tuple(value)
                        for setting, value in settings_of(
                            ROLES["tenant"], state.schema, state.beside
                        ).items()
                    },
                )
                # One left by a restore, of a login that this server did not have.
                await tenant_store.delete_tenant(conn, role)
                await tenant_store.insert_tenant(
                    conn, role, namespace=namespace, customer_id=customer_id
                )
                note(
                    conn, "security.tenant_add", "login", role, customer=customer_id,
                    namespace=None if namespace is None else Private(namespace),
                )  # fmt: skip
        return Added(
            role_name=role,
            namespace=namespace,
            customer_id=customer_id,
            password=self._folder / role,
        )

    async def remove(self, name: str) -> int:
        """Take a tenant away, ending its sessions, and return how many it had.

        From the first of the two transactions on it sees nothing; a crash behind it leaves a
        login without rows, which the next `remove` takes away.

        Raises:
            NotFound: there is no such tenant.
        """
        role = self._role(name)
        async with self._open() as db:
            async with audited(db) as conn:
                await store.lock(conn)
                gone = await tenant_store.delete_tenant(conn, role)
                exists = await tenant_store.role_exists(conn, role)
                if not gone and not exists:
                    raise NotFound(f"There is no tenant {role} (`aegis security tenant list`).")
                note(conn, "security.tenant_remove", "login", role)
            async with db.transaction() as conn:
                ended = await tenant_store.drop_login(conn, role) if exists else 0
        (self._folder / role).unlink(missing_ok=True)
        return ended

    def _role(self, name: str) -> str:
        prefix = f"{self._names['tenant']}_"
        plain = name.removeprefix(prefix)
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,19}", plain):
            raise InvalidInput(f"name is {name!r}; use a to z, 0 to 9 and _, 20 at most.")
        return prefix + plain

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Database]:
        settings = replace(self._settings, application_name="aegis-security")
        async with await Database.open(self._dsn, settings, min_size=1) as db:
            async with db.transaction() as conn:
                require_current(await schema_state(conn))
            yield db

    async def _state(self, conn: Connection) -> State:
        return await store.read_state(conn, [*self._names.values()])

    def _require_ready(self, state: State) -> None:
        """Refuse where rows would not be kept apart (`OpsError`)."""
        if not (state.superuser or state.create_role):
            raise OpsError(
                f"{state.user} may not make roles; give a superuser's address with --url.",
                code="roles_forbidden",
            )
        missing, wrong = differing_rules(state)
        shut = {relation.name for relation in state.relations if relation.row_security}
        bare = {rule.table for rule in wanted_rules(state)} - shut
        if missing or wrong or bare or state.noted.get("tenant") != self._names["tenant"]:
            raise OpsError(
                "Rows are not kept apart in this database; run `aegis security apply` first.",
                code="roles_missing",
            )


def _check_whose(namespace: str | None, customer_id: str | None) -> None:
    if namespace is None and customer_id is None:
        raise InvalidInput("Say whose rows it sees: --namespace, --customer, or both.")
    for what, value in (("namespace", namespace), ("customer", customer_id)):
        if value is not None and not (value.strip() == value and 1 <= len(value) <= 200):
            raise InvalidInput(f"{what} is {value!r}; use 1 to 200 characters, no blank ends.")
        if value is not None and not value.isprintable():
            raise InvalidInput(f"{what} has a character that cannot be printed.")
