"""Every change that is to be logged is: one act, one row; and a rule for changes to come."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.alerts.models import Rule
from aegis.client import Aegis
from aegis.security.audit.actions import ACTIONS, ActionId
from aegis.workflows import definitions
from tests.billing.conftest import PER_CALL, use
from tests.rules.source import ROOT, modules
from tests.security.audit.telling import alert, dead_message, limit
from tests.usage.test_partitions import OLD
from tests.usage.test_partitions import fill as fill_usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.config import Settings
    from aegis.db import Database

LATER = datetime(2026, 12, 15, 12, tzinfo=UTC)
ONE: dict[str, Any] = {"one": {"type": "set", "params": {"value": "1"}}}
GRAPH: dict[str, Any] = {"name": "nightly", "start": "one", "nodes": ONE, "edges": []}


@pytest.fixture
async def a(db: Database, settings: Settings) -> Aegis:
    return Aegis(db, None, settings)


async def key(a: Aegis) -> str:
    return (await a.keys.issue("acme", monthly_quota=1_000)).record.id


async def shared_quota(a: Aegis) -> Any:
    return await a.keys.customers.set("acme", monthly_quota=5)


async def invoice(a: Aegis) -> int:
    await a.billing.add_plan("basic", PER_CALL, valid_from="2026-01-01")
    await a.billing.subscribe("acme", "basic", starts_on="2026-01-01")
    await use(a.db, "acme", "2026-10-05", 100)
    await a.billing.run("2026-10", now=LATER)
    return (await a.billing.invoices.list())[0].id


async def final(a: Aegis) -> int:
    return (await a.billing.invoices.finalize(await invoice(a))).id


async def episode(a: Aegis) -> int:
    return (await a.memory.record("note", "something that happened")).id


async def schedule(a: Aegis) -> str:
    await a.schedules.add("mine", "0 0 * * *", "jobs.forget")
    return "mine"


async def nothing(_: Aegis) -> None: ...


async def competitor(a: Aegis) -> str:
    made, _ = await a.intel.add("https://acme.example", name="Acme", discover=False)
    return str(made.id)


async def workflow(a: Aegis) -> str:
    await definitions.save(a.db, GRAPH)
    return "nightly"


async def credit(a: Aegis) -> int:
    return (await a.billing.credit("acme", "5", reason="sorry", key="k")).id


async def subscription(a: Aegis) -> int:
    await a.billing.add_plan("basic", PER_CALL, valid_from="2026-01-01")
    return (await a.billing.subscribe("acme", "basic", starts_on="2026-10-01")).id


async def rule(a: Aegis) -> str:
    await a.alerts.put_rule(Rule(name="night", source="doctor"))
    return "night"


async def old_episode(a: Aegis) -> int:
    made = await a.memory.record("note", "over", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    return made.id


async def policy(a: Aegis) -> None:
    await a.memory.retention.set_policy("30d")


#: The action, what is there before, the act, and how often it is logged.
ACTS: dict[
    str, tuple[Callable[[Aegis], Awaitable[Any]], Callable[[Aegis, Any], Awaitable[Any]]]
] = {
    "keys.issue": (nothing, lambda a, _: a.keys.issue("acme", name="Ann's")),
    "keys.update": (key, lambda a, k: a.keys.rename(k, "other")),
    "keys.disable": (key, lambda a, k: a.keys.disable(k)),
    "keys.enable": (key, lambda a, k: a.keys.enable(k)),
    "keys.expire": (key, lambda a, k: a.keys.expire(k, datetime.now(UTC) + timedelta(days=9))),
    "keys.revoke": (key, lambda a, k: a.keys.revoke(k)),
    "keys.rotate": (key, lambda a, k: a.keys.rotate(k)),
    "keys.grant": (key, lambda a, k: a.keys.quota.grant(k, 5, note="Ann asked")),
    "keys.secret_add": (key, lambda a, _: a.keys.add_secret()),
    "keys.customer_set": (nothing, lambda a, _: shared_quota(a)),
    "keys.customer_grant": (shared_quota, lambda a, _: a.keys.customers.grant("acme", 5, note="A")),
    "keys.tier_set": (nothing, lambda a, _: a.keys.tiers.set("free", rate_limit=3)),
    "billing.plan_add": (
        nothing,
        lambda a, _: a.billing.add_plan("basic", PER_CALL, valid_from="2026-01-01"),
    ),
    "billing.subscribe": (
        lambda a: a.billing.add_plan("basic", PER_CALL, valid_from="2026-01-01"),
        lambda a, _: a.billing.subscribe("acme", "basic", starts_on="2026-01-01"),
    ),
    "billing.subscription_end": (
        subscription,
        lambda a, s: a.billing.end_subscription(s, "2026-12-01"),
    ),
    "billing.account_set": (
        nothing,
        lambda a, _: a.billing.set_account("acme", name="Ann Example", email="ann@example.org"),
    ),
    "billing.credit": (nothing, lambda a, _: a.billing.credit("acme", "5", reason="sorry, Ann")),
    "billing.take_back": (credit, lambda a, c: a.billing.take_back(c, "2", reason="no, Ann")),
    "billing.invoice_finalize": (invoice, lambda a, i: a.billing.invoices.finalize(i)),
    "billing.invoice_sent": (final, lambda a, i: a.billing.invoices.mark_sent(i)),
    "billing.invoice_paid": (final, lambda a, i: a.billing.invoices.mark_paid(i)),
    "billing.invoice_void": (final, lambda a, i: a.billing.invoices.void(i)),
    "alerts.silence": (
        nothing,
        lambda a, _: a.alerts.silence(source="doctor", seconds=60, reason="Ann says so"),
    ),
    "alerts.unsilence": (
        lambda a: a.alerts.silence(source="doctor", seconds=60),
        lambda a, s: a.alerts.unsilence(s.id),
    ),
    "alerts.rule_put": (nothing, lambda a, _: rule(a)),
    "alerts.rule_delete": (rule, lambda a, r: a.alerts.delete_rule(r)),
    "alerts.mark_false": (alert, lambda a, n: a.alerts.mark_false(n, note="Ann looked")),
    "alerts.retry": (dead_message, lambda a, n: a.alerts.channels.retry(n)),
    "metrics.rule_put": (nothing, lambda a, _: limit(a)),
    "metrics.rule_delete": (limit, lambda a, r: a.telemetry.delete_rule(r)),
    "schedules.add": (nothing, lambda a, _: schedule(a)),
    "schedules.pause": (schedule, lambda a, s: a.schedules.pause(s)),
    "schedules.remove": (schedule, lambda a, s: a.schedules.remove(s)),
    "workers.rate": (nothing, lambda a, _: a.workers.set_rate("api.example.org", 10)),
    "workflows.save": (nothing, lambda a, _: workflow(a)),
    "workflows.status": (workflow, lambda a, w: definitions.set_status(a.db, w, "archived")),
    "workflows.delete": (workflow, lambda a, w: definitions.delete(a.db, w)),
    "memory.delete": (episode, lambda a, e: a.memory.delete(e)),
    "memory.hold": (episode, lambda a, e: a.memory.retention.hold(e, "Ann asked")),
    "memory.policy_set": (nothing, lambda a, _: policy(a)),
    "memory.policy_remove": (policy, lambda a, _: a.memory.retention.remove_policy()),
    "memory.expire": (old_episode, lambda a, _: a.memory.retention.sweep()),
    "intel.remove": (competitor, lambda a, c: a.intel.remove(c)),
    "research.budget_set": (nothing, lambda a, _: a.research.set_budget("5")),
    "research.price_set": (
        nothing,
        lambda a, _: a.research.set_price(
            "gemini", "m", "input_tokens", "1", per=1_000_000, source="https://example.org"
        ),
    ),
}

#: Those whose row another test looks at, and where.
ELSEWHERE: dict[str, str] = {
    "audit.accept": "tests/security/audit/test_tampering.py",
    "audit.seal": "tests/security/audit/test_sealing.py",
    "backup.delete": "tests/security/audit/test_files.py",
    "backup.hold": "tests/security/audit/test_files.py",
    "backup.rekey": "tests/security/audit/test_files.py",
    "backup.release": "tests/security/audit/test_files.py",
    "billing.run": "tests/security/audit/test_actions.py",
    "billing.run_begin": "tests/security/audit/test_actions.py",
    "billing.stripe_retry": "tests/security/audit/test_actions.py",
    "db.adopt": "tests/security/audit/test_files.py",
    "db.downgrade": "tests/security/audit/test_files.py",
    "db.upgrade": "tests/security/audit/test_files.py",
    "memory.archive": "tests/security/audit/test_actions.py",
    "memory.archive_restore": "tests/security/audit/test_actions.py",
    "memory.erase": "tests/security/audit/test_actions.py",
    "memory.erase_begin": "tests/security/audit/test_actions.py",
    "memory.quarantine_restore": "tests/memory/audit/test_decision_repairs.py",
    "memory.release": "tests/security/audit/test_actions.py",
    "memory.repair": "tests/memory/audit/test_decision_repairs.py",
    "research.delete": "tests/security/audit/test_actions.py",
    "restore.run": "tests/security/audit/test_files.py",
    "schedules.resume": "tests/security/audit/test_actions.py",
    "security.column_disable": "tests/security/audit/test_doors.py",
    "security.column_enable": "tests/security/audit/test_doors.py",
    "security.column_retire": "tests/security/audit/test_doors.py",
    "security.column_rotate": "tests/security/audit/test_doors.py",
    "security.roles_apply": "tests/security/audit/test_doors.py",
    "security.tenant_add": "tests/security/audit/test_doors.py",
    "security.tenant_remove": "tests/security/audit/test_doors.py",
    "usage.month_drop": "tests/security/audit/test_actions.py",
    "usage.month_export": "tests/security/audit/test_actions.py",
}


@pytest.mark.parametrize("action", ACTS)
async def test_an_act_is_one_row_without_what_somebody_wrote(a: Aegis, action: ActionId) -> None:
    before, act = ACTS[action]
    there = await before(a)
    known = {row.seq for row in await a.audit_log.list(limit=1_000)}
    await act(a, there)
    fresh = [row for row in await a.audit_log.list(limit=1_000) if row.seq not in known]
    assert [row.action for row in fresh] == [action]
    assert "Ann" not in str(fresh)
    assert "default" not in str(fresh[0].details.get("namespace", ""))
    assert (await a.audit_log.verify()).problems == 0


@pytest.mark.parametrize("action", ["keys.revoke", "billing.credit", "schedules.resume"])
async def test_what_changes_nothing_is_not_logged(a: Aegis, action: str) -> None:
    if action == "keys.revoke":
        one = await key(a)
        await a.keys.revoke(one)
        await a.keys.revoke(one)
    elif action == "billing.credit":
        await credit(a)
        await credit(a)
    else:
        await a.schedules.pause(await schedule(a))
        await a.schedules.resume("mine")
        await a.schedules.resume("mine")
    assert [r.action for r in await a.audit_log.list(action=action)] == [action]


async def test_a_month_s_run_is_logged_when_it_begins_and_ends(a: Aegis) -> None:
    await invoice(a)
    ended, begun = await a.audit_log.list(object="month:2026-10")
    assert (begun.action, ended.action) == ("billing.run_begin", "billing.run")
    assert ended.details["entries"] == 1
    await a.billing.run("2026-10", now=LATER, dry_run=True)
    assert len(await a.audit_log.list(object="month:2026-10")) == 2


async def test_an_erasure_and_archives_leave_rows_and_no_names(a: Aegis) -> None:
    one = await episode(a)
    await a.memory.record("note", "Zebulon likes tea")
    await a.memory.retention.hold(one, "r")
    await a.memory.retention.release(one)
    await a.memory.erasures.run("Zebulon", rewrite=False)
    rows = await a.audit_log.list()
    assert [row.action for row in rows] == [
        "memory.erase",
        "memory.erase_begin",
        "memory.release",
        "memory.hold",
    ]
    assert "zebulon" not in str(rows).lower()
    assert rows[0].details["rows"]["episodic_memory"] == 1


async def test_archives_are_logged_where_they_are_made_and_restored(a: Aegis) -> None:
    await a.memory.retention.set_policy("1s", action="archive")
    over = datetime(2020, 1, 1, tzinfo=UTC)
    await a.memory.record("note", "Ann was here", expires_at=over)
    await a.memory.retention.sweep()
    (archive,) = await a.memory.archives.list()
    await a.memory.archives.restore(archive.id)
    restored, archived = await a.audit_log.list(object=f"archive:{archive.id}")
    assert (archived.action, restored.action) == ("memory.archive", "memory.archive_restore")
    assert archived.details["sha256"] == archive.sha256
    assert "Ann" not in str([archived, restored])


async def test_a_month_of_usage_is_logged_when_it_goes(a: Aegis) -> None:
    await fill_usage(a.db)
    await a.usage.partitions.keep_house()
    rows = [row for row in await a.audit_log.list() if row.action.startswith("usage.")]
    assert [row.action for row in rows] == ["usage.month_drop", "usage.month_export"]
    assert rows[0].object_id == rows[1].object_id == f"{OLD:%Y-%m}"
    assert (rows[0].details, rows[1].details["rows"]) == ({"rows": 50, "archived": True}, 50)


async def test_stripe_s_rows_are_tried_again_on_somebody_s_word(a: Aegis) -> None:
    async with a.db.transaction() as conn:
        await conn.execute(
            """
            WITH account AS (
                INSERT INTO billing_accounts (customer_id) VALUES ('acme') RETURNING customer_id
            )
            INSERT INTO billing_stripe_outbox (
                kind, subject, customer_id, state, payload, idempotency_key
            )
            SELECT 'customer', 'acme', customer_id, 'failed', '{}', 'k' FROM account
            """
        )
    assert await a.billing.stripe.retry() == 1
    (row,) = await a.audit_log.list()
    assert (row.action, row.details) == ("billing.stripe_retry", {"rows": 1})


async def test_stripe_retries_and_research_deletions(a: Aegis) -> None:
    from aegis.errors import NotFound

    assert await a.billing.stripe.retry() == 0
    assert await a.audit_log.list() == []
    with pytest.raises(NotFound):
        await a.research.delete("00000000-0000-0000-0000-000000000000")
    assert await a.audit_log.list() == []
    made = await a.research.start("what is it", provider="local")
    await a.research.wait(made.job.id)
    await a.research.delete(made.job.id)
    assert [r.action for r in await a.audit_log.list()] == ["research.delete"]


def test_every_action_is_performed_in_a_test_and_documented() -> None:
    assert {*ACTS, *ELSEWHERE} == {*ACTIONS}
    assert not {*ACTS} & {*ELSEWHERE}
    for action, place in ELSEWHERE.items():
        text = (ROOT / place).read_text().split("ELSEWHERE: dict", 1)
        assert f'"{action}"' in (text[0] + text[-1].split("\n}\n", 1)[-1]), (action, place)
    page = (ROOT / "docs/howto/audit-log.md").read_text()
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` ", page, re.MULTILINE)) == {*ACTIONS}


def test_every_action_is_used() -> None:
    used = {
        node.value
        for name, tree in modules().items()
        if name != "security/audit/actions.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {*ACTIONS} - used == set()


#: Functions that open a transaction which is not audited: they read, or keep house by themselves.
UNLOGGED = {
    "keys/service.py": {"get", "list", "secrets"},
    "keys/tiers.py": {"list"},
    "keys/quota.py": {"balance", "ledger"},
    "keys/customers.py": {"get", "ledger", "list"},
    "security/roles/service.py": {"apply", "plan", "regrant"},
    "security/roles/tenants.py": {"_open", "add", "list", "remove"},
    "billing/service.py": {
        "account", "accounts", "balance", "entries", "plans", "preview", "runs", "subscriptions"},
    "billing/credits.py": set[str](),
    "billing/invoices.py": {"get", "list"},
    "billing/run.py": set[str](),
    "billing/stripe/service.py": {"_read_reports", "_send", "counts", "queue", "rows", "sync"},
    "alerts/service.py": {
        "acknowledge", "get", "history", "keep", "list", "observe", "rules", "silences", "tick",
    },
    "alerts/channels.py": {"announce", "deliveries", "list", "test"},
    "metrics/telemetry.py": {"_may_collect", "aclose", "anomalies", "rules"},
    # What is enqueued, cancelled and run is in the jobs' own history.
    "worker/service.py": {
        "cancel", "counts", "enqueue", "enqueue_many", "get", "history", "list", "rates", "retry",
        "run",
    },
    "workflows/definitions.py": {"get", "list_definitions", "versions"},
    "usage/partitions.py": {
        "_digest", "_export", "_exported", "_forget", "_let_go", "_newest", "archives", "list",
        "require",
    },
    "memory/retention/service.py": {"_apply", "holds", "policies"},
    "memory/retention/archives.py": {"get", "list", "verify"},
    "memory/retention/archiving.py": {"archive_rows", "settle"},
    # The steps of an erasure, which has a row where it begins and one where it ends.
    "memory/retention/erasing.py": {
        "_delete", "_erase_archive", "_erase_logs", "_erase_rows", "_remove_files", "_rename",
        "_rewrite", "_unsay", "_verify", "erase", "stage",
    },
    "memory/retention/forgetting.py": {"_faded", "_sweep_place", "plan", "sweep"},
    "research/service.py": {"budget", "cancel", "get", "list", "prices", "providers", "status"},
    # What is watched is a choice that changes from day to day; deletions are logged.
    "intel/service.py": {
        "_chosen", "_learning", "_left", "acknowledge", "add", "change", "changes", "choose",
        "competitor", "configure", "configure_page", "list", "page", "pages", "watch",
    },
}  # fmt: skip


@pytest.mark.parametrize("module", UNLOGGED)
def test_a_new_function_that_changes_something_is_logged_or_said_not_to_be(module: str) -> None:
    """One that fails here: open its transaction with `audited` and `note` it, or name it above."""
    found = {
        function.name
        for function in ast.walk(modules()[module])
        if isinstance(function, ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in ("transaction", "connection")
    }
    assert found == UNLOGGED[module]
