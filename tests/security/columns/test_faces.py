"""The commands, the routes, the checks and the erasures that know of encrypted columns."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from aegis.api.app import create_app
from aegis.billing import Billing
from aegis.client import Aegis, ask_aegis
from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import ConfigError, OpsError
from aegis.security.columns import Encryption
from tests.ops.health.looking import look, objects
from tests.security.columns.conftest import ACCOUNT, customers
from tests.serving import aegis, answer
from tests.statements import rows

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from aegis.config import Settings

TOKEN = "aegis_op_" + "t" * 43


def _ask(tmp_path: Path, dsn: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return aegis(tmp_path, *words, database_url=dsn, embedder="none", **more)


def test_commands_encrypt_rotate_verify_retire_and_decrypt(tmp_path: Path, dsn: str) -> None:
    def encrypt(*words: str) -> subprocess.CompletedProcess[str]:
        return _ask(tmp_path, dsn, "security", "encrypt", *words)

    _ask(tmp_path, dsn, "billing", "account", "acme", "--name", "Acme", "--email", "A@b.example")
    planned: Any = answer(encrypt("enable", "billing_accounts.email", "--dry-run", "--json"))
    assert [(p["column"], p["action"], p["values"]) for p in planned["plan"]] == [
        ("billing_accounts.email", "encrypt", 1),
        ("billing_stripe_outbox.payload", "encrypt", 0),
    ]
    unasked = encrypt("enable", "billing_accounts.email")
    assert (unasked.returncode, "add --yes" in unasked.stderr) == (2, True)
    done = encrypt("enable", "--all", "--yes")
    assert done.stdout == "2 values encrypted.\n"
    assert "Keep a copy where neither the database nor its backups are" in done.stderr
    assert (tmp_path / "column-keys").stat().st_mode & 0o777 == 0o600
    listed: Any = answer(encrypt("list", "--json"))
    assert {c["state"] for c in listed["columns"]} == {"encrypted"}
    found: Any = answer(
        _ask(tmp_path, dsn, "billing", "accounts", "--email", "a@B.example", "--json")
    )
    assert [a["email"] for a in found["items"]] == ["A@b.example"]
    assert encrypt("rotate", "--yes").stdout == "2 values encrypted anew.\n"
    old = listed["keys"][0]
    assert encrypt("retire", old, "--yes").stdout == f"The key {old} is gone.\n"
    good: Any = answer(encrypt("verify", "--json"))
    assert good["good"] is True
    (tmp_path / "column-keys").rename(tmp_path / "away")
    lost = _ask(tmp_path, dsn, "billing", "account", "acme")
    assert lost.returncode != 0
    assert len(lost.stderr.splitlines()) == 1
    assert "without it nobody can read them. [column_key_missing]" in lost.stderr
    (tmp_path / "away").rename(tmp_path / "column-keys")
    assert encrypt("disable", "--all", "--yes").stdout == "2 values decrypted.\n"
    shown: Any = answer(_ask(tmp_path, dsn, "billing", "account", "acme", "--json"))
    assert (shown["name"], shown["email"]) == ("Acme", "A@b.example")
    refused = encrypt("enable", "episodic_memory.summary", "--yes")
    assert "searched by words" in refused.stderr


async def test_routes_show_and_find_and_tell_nobody_a_key(
    db: Database, settings: Settings, encryption: Encryption, billing: Billing
) -> None:
    await customers(billing, 3)
    await encryption.enable(*ACCOUNT)
    app = create_app(Aegis(db, None, replace(settings, embedder="none")), token=TOKEN)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://127.0.0.1:8734",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as http:
        shown = (await http.get("/v1/security/columns")).json()
        assert {item["state"] for item in shown["items"]} == {"encrypted"}
        secret = (settings.data_dir / "column-keys").read_text().strip()
        assert secret not in json.dumps(shown)
        found = await http.post("/v1/billing/accounts/find", json={"email": "C1@example.ORG"})
        assert [a["name"] for a in found.json()["items"]] == ["Customer 1"]
        page = (await http.get("/v1/billing/accounts?limit=2")).json()
        assert [a["customer_id"] for a in page["items"]] == ["c0", "c1"]
        (settings.data_dir / "column-keys").unlink()
        for asked in (
            await http.get("/v1/billing/accounts"),
            await http.get("/v1/billing/accounts/c1"),
        ):
            assert asked.status_code >= 500
            assert asked.json()["code"] == "column_key_missing"
            assert "items" not in asked.json()


async def test_the_check_finds_what_is_clear_missing_cut_off_or_open(
    db: Database, settings: Settings, encryption: Encryption, billing: Billing
) -> None:
    await customers(billing, 3)
    assert (await look(db, settings, "encrypted-columns")).state == "ok"
    await encryption.enable(*ACCOUNT)
    assert (await look(db, settings, "encrypted-columns")).state == "ok"
    await rows(
        db,
        "SET LOCAL session_replication_role = replica; "
        "UPDATE billing_accounts SET email = 'clear@example.org' WHERE customer_id = 'c1'",
    )
    clear = await look(db, settings, "encrypted-columns")
    assert (clear.state, objects(clear)) == ("warning", ["billing_accounts.email"])
    assert clear.findings[0].fix == "aegis security encrypt enable billing_accounts.email"
    await encryption.enable("billing_accounts.email")
    assert (await look(db, settings, "encrypted-columns")).state == "ok"

    path = settings.data_dir / "column-keys"
    path.chmod(0o644)
    assert objects(await look(db, settings, "encrypted-columns")) == [str(path)]
    kept = path.read_text()
    path.unlink()
    lost = await look(db, settings, "encrypted-columns")
    assert (lost.state, len(lost.findings)) == ("critical", 6)
    path.write_text(kept)
    path.chmod(0o600)
    await rows(
        db,
        "UPDATE encrypted_columns SET state = 'encrypting', changed_at = now() - interval '1 day' "
        "WHERE column_name = 'name'",
    )
    trigger = "tr_billing_accounts_address_sealed"
    await rows(db, f"ALTER TABLE billing_accounts DISABLE TRIGGER {trigger}")
    found = await look(db, settings, "encrypted-columns")
    assert found.state == "critical"
    assert sorted(objects(found)) == ["billing_accounts.name", trigger]


async def test_an_erasure_reads_encrypted_rows_too(
    db: Database, settings: Settings, encryption: Encryption, billing: Billing
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none"))
    await customers(billing, 3)
    await billing.set_account("one", name="Zebulon Quimby")
    before = await client.memory.erasures.plan("Zebulon Quimby")
    assert before.elsewhere == {"billing_accounts": 1}
    await encryption.enable(*ACCOUNT)
    assert (await client.memory.erasures.plan("Zebulon Quimby")).elsewhere == before.elsewhere
    assert (await client.memory.erasures.plan("Nobody Else")).elsewhere == {}
    (settings.data_dir / "column-keys").unlink()
    unread = await client.memory.erasures.plan("Zebulon Quimby")
    assert unread.elsewhere == {"billing_accounts.unreadable": 4}


async def test_who_tries_a_restored_database_says_whether_its_columns_can_be_read(
    db: Database,
    dsn: str,
    settings: Settings,
    encryption: Encryption,
    billing: Billing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await customers(billing, 2)
    monkeypatch.setenv("AEGIS_DATA_DIR", str(settings.data_dir))
    assert (await ask_aegis(dsn)).endswith(" keys")
    await encryption.enable(*ACCOUNT)
    assert (await ask_aegis(dsn)).endswith("6 columns are encrypted, and their keys are here")
    (settings.data_dir / "column-keys").rename(settings.data_dir / "away")
    said = await ask_aegis(dsn)
    assert "6 columns are encrypted, and not to be read here: Columns are encrypted by" in said
    (settings.data_dir / "away").rename(settings.data_dir / "column-keys")
    await rows(
        db, "UPDATE billing_accounts SET name = left(name, 20) || 'AAAA' WHERE customer_id = 'c0'"
    )
    with pytest.raises(OpsError, match="does not decrypt"):
        await ask_aegis(dsn)


async def test_without_the_package_everything_clear_works_and_the_rest_says_what_is_missing(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Python does for what is not there.
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    billing, encryption = Billing(db, settings), Encryption(db, settings)
    await customers(billing, 2)
    assert [a.name for a in await billing.accounts(email="c1@example.org")] == ["Customer 1"]
    assert len(await encryption.list()) == 6
    with pytest.raises(ConfigError, match=r"install `aegis-core\[encryption\]`") as refused:
        await encryption.enable(*ACCOUNT)
    assert refused.value.code == "extra_missing"
    assert "\n" not in refused.value.message
    assert await rows(db, "SELECT FROM encrypted_columns") == []
    assert (await look(db, settings, "encrypted-columns")).state == "ok"


def test_settings_never_show_the_keys() -> None:
    settings = load_settings({"AEGIS_COLUMN_KEYS": "c2VjcmV0"})
    assert "c2VjcmV0" not in repr(settings)
    with pytest.raises(ConfigError, match="Key 1 of AEGIS_COLUMN_KEYS is not 32 bytes") as refused:
        Encryption(None, settings).keys.ring()  # pyright: ignore[reportArgumentType]
    assert "c2VjcmV0" not in refused.value.message
