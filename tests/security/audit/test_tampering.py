"""Whatever is done to a log past its guards is found, and said where."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from aegis.security.audit.anchors import anchor_path, read_anchors
from aegis.security.audit.chain import Chain, valid_anchors
from aegis.security.audit.encoding import hash_of, row_body, sign
from aegis.security.audit.models import Head, Row
from aegis.security.audit.service import AuditLog
from aegis.vault import Secret, Vault
from tests.security.audit.conftest import fill, tamper

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")

#: What is done, what is found, and at which row.
WAYS = {
    "field": (["UPDATE audit_log SET object_id = 'other' WHERE seq = 4"], "changed", 4),
    "details": (["UPDATE audit_log SET details = '{\"n\": 1}' WHERE seq = 4"], "changed", 4),
    "time": (
        ["UPDATE audit_log SET recorded_at = recorded_at + interval '1 us' WHERE seq = 1"],
        "changed",
        1,
    ),
    "actor": (["UPDATE audit_log SET actor_kind = 'worker' WHERE seq = 10"], "changed", 10),
    "request": (["UPDATE audit_log SET request_id = 'x' WHERE seq = 2"], "changed", 2),
    "signature": (["UPDATE audit_log SET signature = sha256('x') WHERE seq = 5"], "forged", 5),
    "middle": (["DELETE FROM audit_log WHERE seq BETWEEN 4 AND 6"], "gap", 4),
    "first": (["DELETE FROM audit_log WHERE seq = 1"], "gap", 1),
    "last": (["DELETE FROM audit_log WHERE seq = 10"], "tail", 10),
    "all": (["TRUNCATE audit_log"], "tail", 1),
    "swap": (
        [
            "UPDATE audit_log SET seq = 99 WHERE seq = 4",
            "UPDATE audit_log SET seq = 4 WHERE seq = 5",
            "UPDATE audit_log SET seq = 5 WHERE seq = 99",
        ],
        "unlinked",
        4,
    ),
    "moved up": (
        [
            "DELETE FROM audit_log WHERE seq = 4",
            "UPDATE audit_log SET seq = -seq WHERE seq > 4",
            "UPDATE audit_log SET seq = -seq - 1 WHERE seq < 0",
            "UPDATE audit_head SET seq = 9",
        ],
        "unlinked",
        4,
    ),
    "inserted": (
        [
            "INSERT INTO audit_log SELECT 11, recorded_at, action, actor_kind, actor_id, face,"
            " request_id, object_kind, object_id, details, hash, hash, secret_id, signature"
            " FROM audit_log WHERE seq = 10"
        ],
        "changed",
        11,
    ),
    "head put back": (["UPDATE audit_head SET seq = 9"], "beyond_head", 10),
    "head's hash": (["UPDATE audit_head SET hash = sha256('x')"], "tail", 10),
    "another log": (["UPDATE audit_head SET log_id = gen_random_uuid()"], "changed", 1),
}


@pytest.mark.parametrize("way", WAYS)
async def test_tampering_is_found_at_its_row(db: Database, log: AuditLog, way: str) -> None:
    statements, kind, seq = WAYS[way]
    await fill(db, 10)
    assert (await log.verify()).problems == 0
    if way in ("moved up", "head put back", "swap"):
        statements = ["ALTER TABLE audit_log DROP CONSTRAINT ck_audit_log_seq", *statements]
    await tamper(db, *statements)
    found = await log.verify()
    assert found.state == "tampered"
    problems = {(f.kind, f.seq) for f in found.findings if f.severity == "problem"}
    assert (kind, seq) in problems, problems


async def test_the_end_taken_off_with_its_head_is_found_by_the_anchor(
    db: Database, log: AuditLog
) -> None:
    await fill(db, 10)
    await log.head()
    await tamper(
        db,
        "DELETE FROM audit_log WHERE seq > 7",
        "UPDATE audit_head SET seq = 7, hash = (SELECT hash FROM audit_log WHERE seq = 7)",
    )
    for complete in (True, False):
        found = await log.verify(complete=complete)
        assert [(f.kind, f.seq) for f in found.findings] == [("rolled_back", 8)]
    # New rows in their place are no better.
    await fill(db, 5)
    found = await log.verify()
    assert ("anchor", 10) in {(f.kind, f.seq) for f in found.findings}


async def test_an_emptied_log_that_is_new_is_found_by_the_anchor(
    db: Database, log: AuditLog
) -> None:
    await fill(db, 3)
    await log.head()
    await tamper(
        db,
        "TRUNCATE audit_log",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head DEFAULT VALUES",
    )
    found = await log.verify()
    assert (found.state, found.findings[0].kind) == ("tampered", "other_log")


async def test_a_chain_made_anew_without_the_secret_is_found(
    db: Database, settings: Settings, log: AuditLog
) -> None:
    """The hashes are right then, all of them; the signatures cannot be."""
    await fill(db, 4)
    forger = Secret(b"f" * 40)
    async with db.transaction() as conn:
        from aegis.security.audit import store

        head = await store.get_head(conn)
        rows = [row async for page in store.stream_rows(conn, after=0, page=9) for row in page]
    from dataclasses import replace

    previous, updates = bytes(32), list[str]()
    for row in rows:
        changed = replace(row, object_id="forged", previous_hash=previous)
        previous = hash_of(previous, row_body(head.log_id, changed))
        updates.append(
            f"UPDATE audit_log SET object_id = 'forged', hash = '\\x{previous.hex()}',"
            f" previous_hash = '\\x{changed.previous_hash.hex()}',"
            f" signature = '\\x{sign(forger, previous).hex()}' WHERE seq = {row.seq}"
        )
    await tamper(db, *updates, f"UPDATE audit_head SET hash = '\\x{previous.hex()}'")
    found = await log.verify()
    assert [(f.kind, f.seq) for f in found.findings if f.severity == "problem"] == [
        ("forged", n) for n in range(1, 5)
    ]
    # Naming a secret of one's own does not help either.
    await tamper(db, f"UPDATE audit_log SET secret_id = '{forger.id}'")
    assert (await log.verify()).state == "tampered"
    assert forger.id not in {secret.id for secret in Vault(settings).secrets()}


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit_log DISABLE TRIGGER tr_audit_log_rows",
        "ALTER TABLE audit_log ENABLE TRIGGER tr_audit_log_rows",
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        "DROP TRIGGER tr_audit_log_whole ON audit_log",
        "CREATE OR REPLACE FUNCTION aegis_audit_log_kept() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN OLD; END'",
        "CREATE OR REPLACE TRIGGER tr_audit_log_rows BEFORE UPDATE OR DELETE ON audit_log"
        " FOR EACH ROW WHEN (false) EXECUTE FUNCTION aegis_audit_log_kept()",
        "ALTER TABLE audit_head DISABLE TRIGGER tr_audit_head_rows",
    ],
)
async def test_guards_that_are_off_are_said(db: Database, log: AuditLog, statement: str) -> None:
    await fill(db, 2)
    await log.head()
    async with db.transaction() as conn:
        await conn.execute(statement.encode())
    found = await log.verify()
    assert found.state == "warning"
    assert {f.kind for f in found.findings} == {"guard"}


async def test_an_intact_log_with_an_anchor_is_well(db: Database, log: AuditLog) -> None:
    empty = await log.verify()
    assert (empty.state, empty.rows) == ("ok", 0)
    await fill(db, 3)
    assert {f.kind for f in (await log.verify()).findings} == {"no_anchor"}
    await log.head()
    await log.head()
    assert len(read_anchors(db.settings).anchors) == 1
    await fill(db, 2)
    whole, rest = await log.verify(), await log.verify(complete=False)
    assert (whole.state, whole.rows, whole.from_seq) == ("ok", 5, 1)
    assert (rest.state, rest.rows, rest.from_seq) == ("ok", 2, 4)
    assert (anchor_path(db.settings).stat().st_mode & 0o777) == 0o600


async def test_whoever_may_only_read_verifies_too(db: Database, dsn: str, log: AuditLog) -> None:
    from aegis.db import Database as Pool

    await fill(db, 2)
    await log.head()
    reading = f"{dsn} options='-c default_transaction_read_only=on'"
    async with await Pool.open(reading, db.settings, min_size=1) as other:
        assert (await AuditLog(other, db.settings).verify()).state == "ok"


async def test_anchors_that_were_changed_are_found(db: Database, log: AuditLog) -> None:
    await fill(db, 2)
    await log.head()
    path = anchor_path(db.settings)
    whole = path.read_text()
    line = json.loads(whole)
    path.write_text(json.dumps(line | {"seq": 1}) + "\n")
    assert (await log.verify()).findings[0].kind == "anchor"
    # Cut short by a crash: said, and the next line stands by itself.
    path.write_text(whole + whole[:30])
    found = await log.verify()
    assert (found.state, [f.kind for f in found.findings]) == ("warning", ["anchor"])
    await fill(db, 1)
    await log.head()
    known = read_anchors(db.settings)
    assert ([a.seq for a in known.anchors], list(known.bad_lines)) == ([2, 3], [2])


async def test_a_copy_of_the_anchors_elsewhere_counts(db: Database, log: AuditLog) -> None:
    await fill(db, 4)
    await log.head()
    copy = anchor_path(db.settings).with_name("copy.jsonl")
    anchor_path(db.settings).rename(copy)
    await tamper(
        db,
        "DELETE FROM audit_log WHERE seq > 2",
        "UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)",
    )
    assert (await log.verify()).state == "warning"
    assert (await log.verify(anchors=copy)).state == "tampered"


async def test_what_was_restored_on_purpose_is_accepted_once(db: Database, log: AuditLog) -> None:
    await fill(db, 6)
    await log.head()
    await tamper(
        db,
        "DELETE FROM audit_log WHERE seq > 3",
        "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_log WHERE seq = 3)",
    )
    assert (await log.verify()).state == "tampered"
    await log.head(accept=True)
    assert (await log.verify()).state == "ok"
    accepted = await log.get(4)
    assert (accepted.action, accepted.details) == (
        "audit.accept",
        {"stood_at": 3, "anchored_at": 6},
    )
    # Not what comes after.
    await tamper(db, "UPDATE audit_log SET object_id = 'x' WHERE seq = 4")
    assert (await log.verify()).state == "tampered"


SECRET = Secret(b"s" * 40)
LOG_ID = "00000000-0000-0000-0000-000000000001"


def chain_of(count: int) -> tuple[Head, list[Row]]:
    """Return a log of `count` rows, as it would be read."""
    from dataclasses import replace
    from uuid import UUID

    rows: list[Row] = []
    previous = bytes(32)
    for seq in range(1, count + 1):
        row = Row(
            seq=seq,
            recorded_at=datetime(2026, 6, 1, 0, 0, seq % 60, tzinfo=UTC),
            action="keys.update",
            actor_kind="cli",
            actor_id="me",
            face="cli",
            request_id=None,
            object_kind="key",
            object_id=str(seq),
            details=json.dumps({"n": seq}),
            previous_hash=previous,
            hash=b"",
            secret_id=SECRET.id,
            signature=b"",
        )
        previous = hash_of(previous, row_body(UUID(LOG_ID), row))
        rows.append(replace(row, hash=previous, signature=sign(SECRET, previous)))
    return Head(log_id=UUID(LOG_ID), seq=count, hash=previous), rows


def problems_of(head: Head, rows: list[Row]) -> int:
    chain = Chain(head=head, secrets={SECRET.id: SECRET})
    valid_anchors(chain, [])
    for row in rows:
        chain.take(row)
    chain.finish()
    return chain.problems


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_tampering_of_any_log_is_found(data: st.DataObject) -> None:
    from dataclasses import replace

    head, rows = chain_of(data.draw(st.integers(2, 12)))
    assert problems_of(head, rows) == 0
    at = data.draw(st.integers(0, len(rows) - 1))
    row = rows[at]
    how = data.draw(
        st.sampled_from(
            ["field", "flip", "delete", "insert", "swap", "tail", "rechain", "repeat", "head"]
        )
    )
    if how == "field":
        name = data.draw(
            st.sampled_from(
                ["action", "actor_kind", "actor_id", "face", "request_id", "object_kind",
                 "object_id", "details", "secret_id"]
            )
        )  # fmt: skip
        new = "{}" if name == "details" else data.draw(st.text(max_size=5).map(lambda t: t + "!"))
        rows[at] = replace(row, **{name: new})
    elif how == "flip":
        name = data.draw(st.sampled_from(["hash", "previous_hash", "signature"]))
        value = bytearray(getattr(row, name))
        value[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
        rows[at] = replace(row, **{name: bytes(value)})
    elif how == "delete":
        del rows[at]
    elif how == "tail":
        del rows[at:]
    elif how == "insert":
        forged = replace(row, seq=row.seq, object_id="forged")
        rows.insert(at, forged)
    elif how == "repeat":
        rows.insert(at, row)
    elif how == "swap":
        other = data.draw(st.integers(0, len(rows) - 1).filter(lambda n: n != at))
        one, two = rows[at], rows[other]
        rows[at], rows[other] = replace(two, seq=one.seq), replace(one, seq=two.seq)
    elif how == "head":
        head = replace(head, seq=data.draw(st.integers(0, 20).filter(lambda n: n != head.seq)))
    else:
        # From a row on, everything is hashed anew, as whoever has no secret can.
        previous = row.previous_hash
        for number in range(at, len(rows)):
            changed = replace(rows[number], object_id="forged", previous_hash=previous)
            previous = hash_of(previous, row_body(head.log_id, changed))
            rows[number] = replace(changed, hash=previous)
        head = replace(head, hash=previous)
    assert problems_of(head, rows) > 0, how
