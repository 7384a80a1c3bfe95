"""Security as one object: what faces and the client call."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from aegis.db.database import Database
from aegis.security.roles.checking import check
from aegis.security.roles.service import Roles, address_of_admin
from aegis.security.roles.store.server import database_of
from aegis.security.roles.tenants import Tenants

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.security.roles.models import CheckReport

__all__ = ["Security", "database_name"]


class Security:
    """Who may do what in the database.

    `check` asks on the client's own connections, so that it finds what their role may see;
    with `url`, or without a client, on a connection of an administrator.
    """

    def __init__(self, db: Database | None, settings: Settings, *, url: str | None = None) -> None:
        self._db = db
        self._settings = settings
        self._url = url

    @classmethod
    def of(cls, settings: Settings, *, url: str | None = None) -> Security:
        """Return it without a client."""
        return cls(None, settings, url=url)

    async def check(self) -> CheckReport:
        """Compare what is with what should be; nothing is changed.

        Raises:
            OpsError: the schema does not fit this code.
            Unavailable, ConfigError: nobody answers at the address.
        """
        if self._db is not None:
            return await check(self._db, self._settings)
        async with await Database.open(self._dsn, self._settings, min_size=1) as db:
            return await check(db, self._settings)

    @functools.cached_property
    def roles(self) -> Roles:
        """The roles of the server: what would be done, and doing it, as an administrator."""
        return Roles(self._dsn, self._settings)

    @functools.cached_property
    def tenants(self) -> Tenants:
        """Logins that see one namespace or customer, made as an administrator."""
        return Tenants(self._dsn, self._settings)

    @property
    def _dsn(self) -> str:
        return address_of_admin(self._settings, self._url)


def database_name(settings: Settings) -> str:
    """Return the name of the database that `settings` name; nothing is asked or started."""
    return database_of(
        settings.owner_url or settings.direct_database_url or settings.database_url or ""
    )
