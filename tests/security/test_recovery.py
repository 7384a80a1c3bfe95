"""Encrypted columns, the audit log, roles and tenants through a backup: all holds afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.client import ask_aegis, connect
from aegis.db import Database
from aegis.ops.backup.crypto import new_key
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from aegis.security.columns import Encryption
from aegis.security.roles.service import Roles
from aegis.security.roles.tenants import Tenants
from tests.cluster import reachable_folder
from tests.security.audit.test_files import dropping
from tests.security.columns.conftest import ACCOUNT, customers
from tests.security.conftest import Guarded, named
from tests.security.test_tenants import MINE, OTHERS, ROWS, tenant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from aegis.security.audit.models import Verification
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

WORD: Final = "Qwxyzzmarker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A database with everything that protects it."""

    guarded: Guarded
    #: As the application is set, with the owner's and the backup role's addresses.
    settings: Settings

    def of(self, database: str) -> Settings:
        """Return the application's settings for another database of the server."""
        url = make_conninfo(self.guarded.url("app"), dbname=database)
        return replace(self.settings, database_url=url)

    def conn(self, role: Any, database: str) -> psycopg.Connection:
        return psycopg.connect(
            make_conninfo(self.guarded.url(role), dbname=database), autocommit=True
        )


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as place:
        yield place


@pytest.fixture
def shop(cluster: Cluster, dsn: str, folder: Path) -> Iterator[Shop]:
    with named(cluster, dsn, folder / "data") as guarded:
        settings = replace(
            guarded.settings,
            database_url=guarded.url("app"),
            owner_url=dsn,
            backup_url=guarded.url("backup"),
            backup_keys=new_key(),
            embedder="none",
        )
        asyncio.run(_furnish(guarded, settings))
        yield Shop(guarded=guarded, settings=settings)


async def _furnish(guarded: Guarded, settings: Settings) -> None:
    await guarded.roles().apply()
    tenants = Tenants(guarded.dsn, guarded.settings)
    await tenants.add("n", namespace=MINE)
    await tenants.add("c", customer_id=MINE)
    with guarded.admin() as admin:
        admin.execute(ROWS)
    async with await Database.open(guarded.dsn, settings, min_size=1) as db:
        await Encryption(db, settings).enable(*ACCOUNT)
    async with connect(settings=settings) as client:
        await customers(client.billing, 3, name=WORD)
        await client.keys.issue("acme")


async def _verify(shop: Shop, database: str, anchors: Path | None = None) -> Verification:
    async with connect(settings=shop.of(database)) as client:
        return await client.audit_log.verify(anchors=anchors)


async def _holds(shop: Shop, database: str, *, keys: int) -> None:
    """See that everything reads, and that nobody may more than before."""
    async with connect(settings=shop.of(database)) as client:
        assert (await client.billing.account("c2")).name == WORD
        (found,) = await client.billing.accounts(email="c1@example.org")
        assert (found.customer_id, found.address) == ("c1", "Street 1\nTown")
        assert len(await client.keys.list(customer_id="acme")) == keys
        assert await client.memory.count() == 0
        looked = await client.encryption.verify()
        assert sum(sum(one.by_key.values()) for one in looked) >= 9
        assert all(one.good and not one.clear for one in looked)
        # Clear text is refused as before, whoever writes it.
        with pytest.raises(psycopg.Error), shop.conn("app", database) as app:
            app.execute("UPDATE billing_accounts SET name = 'clear'")
    with shop.conn("app", database) as app:
        for statement in ("UPDATE audit_log SET face = 'x'", "DELETE FROM audit_log"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement.encode())
    with shop.conn("readonly", database) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT key_hash FROM api_keys")
        stored = reader.execute("SELECT name FROM billing_accounts").fetchall()
        assert all(name.startswith("aegis:v1:") for (name,) in stored)
    with shop.conn(tenant(shop.guarded, "n"), database) as one:
        seen = one.execute("SELECT DISTINCT namespace FROM episodic_memory").fetchall()
        assert seen == [(MINE,)]
        assert one.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            one.execute("SELECT * FROM audit_log")
    with shop.conn(tenant(shop.guarded, "c"), database) as one:
        assert one.execute("SELECT DISTINCT customer_id FROM api_keys").fetchall() == [(MINE,)]
        assert one.execute("SELECT count(*) FROM episodic_memory").fetchone() == (0,)
    with shop.conn("app", database) as app:
        spaces = app.execute("SELECT DISTINCT namespace FROM episodic_memory ORDER BY 1")
        assert spaces.fetchall() == [(MINE,), (OTHERS,)]


def _left_to_do(shop: Shop, database: str) -> list[str]:
    """Return what `aegis security apply` would do to the roles' rights in a database."""
    dsn = make_conninfo(shop.guarded.dsn, dbname=database)
    return [step.what for step in asyncio.run(Roles(dsn, shop.guarded.settings).plan())]


@pytest.mark.parametrize(
    ("format", "encrypt"), [("custom", False), ("directory", True)], ids=["plain", "sealed"]
)
async def test_what_protects_a_database_comes_back_with_it(
    shop: Shop,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    format: Any,
    encrypt: bool,
) -> None:
    monkeypatch.setenv("AEGIS_DATA_DIR", str(shop.settings.data_dir))
    backups = Backups(shop.settings, smoke=ask_aegis)
    live = str(conninfo_to_dict(shop.guarded.dsn)["dbname"])
    await _holds(shop, live, keys=1)
    jobs = 2 if format == "directory" else 1
    entry = await backups.create(
        replace(backups.wish(), format=format, jobs=jobs, encrypt=encrypt, compression="none")
    )
    assert entry.verdict == "verified"
    files = [path.read_bytes() for path in entry.path.rglob("*") if path.is_file()]
    # What is encrypted in the database is so in either; what stands there in clear, in one.
    assert not any(WORD.encode() in text for text in files)
    assert any(b"mine secret 3" in text for text in files) is not encrypt

    # On a server that has none of these roles it is proven, keys of columns included.
    proven = (await backups.verify(entry.name, full=True)).state.full
    assert proven is not None
    assert (proven.verdict, proven.problem) == ("verified", None)
    assert "their keys are here" in next(c.detail for c in proven.checks if c.name == "smoke")

    # What comes later is not in it.
    async with connect(settings=shop.settings) as client:
        await client.keys.issue("acme")
        await client.billing.set_account("c2", name="Later")
        await client.audit_log.head()

    with dropping(cluster):
        beside = f"{live}_beside"
        done = await backups.restore(entry.name, Wanted(into=beside))
        assert done.verdict == "verified"
        await _holds(shop, beside, keys=1)
        assert (await _verify(shop, beside, entry.path)).state == "ok"
        found = await _verify(shop, beside)
        assert {f.kind for f in found.findings} == {"rolled_back"}
        assert await asyncio.to_thread(_left_to_do, shop, beside) == []

        done = await backups.restore(entry.name, Wanted(in_place=True))
        assert (done.verdict, done.database) == ("verified", live)
        await _holds(shop, live, keys=1)
        for anchors in (None, entry.path):
            found = await _verify(shop, live, anchors)
            assert (found.state, list(found.findings)) == ("ok", [])
        assert await asyncio.to_thread(_left_to_do, shop, live) == []
        # And it goes on: a change is logged, encrypted, and backed up again.
        async with connect(settings=shop.settings) as client:
            await client.billing.set_account("c2", name=WORD)
            assert (await client.audit_log.list(limit=1))[0].action == "billing.account_set"
        assert (await backups.create(verify=True)).verdict == "verified"
        assert (await _verify(shop, live)).state == "ok"
