"""What `aegis security check` finds: what is, beside what the description says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aegis.db.revision import require_current, schema_state
from aegis.ops.health.checks.access import CHECKS
from aegis.ops.health.service import Health
from aegis.security.roles.description import ROLES, names, unclassified_tables
from aegis.security.roles.models import PUBLIC, CheckReport, Found
from aegis.security.roles.planning import differing_rules, excess, lack, role_is
from aegis.security.roles.store import roles as store
from aegis.security.roles.store import server
from aegis.security.roles.wanted import (
    known_functions,
    known_relations,
    wanted_defaults,
    wanted_rules,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.security.roles.models import Kind, Right, State, Verdict

__all__ = ["check"]

_APPLY: Final = "Run `aegis security apply`; with --dry-run it prints what it would do."
#: Of health's checks of access these are no matter of roles and logins.
_LEFT_OUT: Final = frozenset({"secret-columns"})
_VERDICTS: Final[Mapping[str, Verdict]] = {
    "ok": "ok",
    "unknown": "unknown",
    "warning": "bad",
    "critical": "bad",
}
_MOST: Final = 20


async def check(db: Database, settings: Settings) -> CheckReport:
    """Compare the server with the description, and look at who gets in and how.

    Nothing is changed. A role that may not look at something makes that check `unknown`.
    """
    roles = names(settings.role_prefix)
    async with db.transaction() as conn:
        require_current(await schema_state(conn))
        state = await store.read_state(conn, [*roles.values()])
        encryption = await server.read_encryption(conn)
        orphans = (
            [t.role_name for t in await store.list_tenants(conn) if not t.can_log_in]
            if await store.may_read_tenants(conn)
            else None
        )
    single = not state.noted
    found = [_single()] if single else [*_compared(state, roles), _orphans(orphans)]
    found += [_encryption(encryption)]
    found += await _access(db, settings)
    worst = {f.verdict for f in found}
    return CheckReport(
        checked_at=datetime.now(UTC),
        verdict="bad" if "bad" in worst else "unknown" if "unknown" in worst else "ok",
        mode="single" if single else "roles",
        checks=found,
    )


def _single() -> Found:
    return Found(
        id="roles",
        title="Roles of their own",
        verdict="ok",
        findings=["one role owns and uses everything; `aegis security apply` would part them"],
        advice="Nothing has to be done where this server serves Aegis alone.",
    )


def _compared(state: State, roles: Mapping[Kind, str]) -> list[Found]:
    too_much = excess(state, roles, shared=True)
    return [
        _found("roles", "Roles of their own", _role_findings(state, roles)),
        _found("rights-missing", "Rights that are missing",
               _told(lack(state, roles, shared=False), "lacks")),
        _found("rights-excess", "Rights beyond the description", _told(too_much, "has")),
        _found("public-database", "What everybody may do in the database",
               _told(_of_public(state), "has"),
               advice=f"{_APPLY} Other programs' roles lose it, too: grant it to them, or give "
               "--shared and mute this."),
        _found("owners", "Owners of tables and functions", _owner_findings(state, roles["owner"])),
        _found("later", "Rights on what is made later", [
            f"{d.role} does not get {d.privilege} on {d.on} that {roles['owner']} makes later"
            for d in sorted(wanted_defaults(roles, state.version_num) - state.defaults)
        ]),
        _found("unknown-tables", "Tables of which the description does not speak", [
            f"{name} is nobody's but its owner's" for name in unclassified_tables(
                {r.root for r in state.relations if r.kind == "table"})
        ], verdict="ok", advice="Tables of other programs are left alone."),
        _found("rows", "Rows kept apart", _row_findings(state)),
    ]  # fmt: skip


def _found(
    id: str,
    title: str,
    findings: Iterable[str],
    *,
    verdict: Verdict = "bad",
    advice: str = _APPLY,
) -> Found:
    said = list(findings)
    more = [f"and {len(said) - _MOST:,} more"] if len(said) > _MOST else []
    return Found(
        id=id,
        title=title,
        verdict=verdict if said else "ok",
        findings=[*said[:_MOST], *more],
        advice=advice if said else "",
    )


def _role_findings(state: State, roles: Mapping[Kind, str]) -> list[str]:
    found: list[str] = []
    for kind, name in roles.items():
        role, there = ROLES[kind], state.roles.get(name)
        if there is None:
            found.append(f"there is no role {name}")
            continue
        if not role_is(there, role):
            beyond = [
                word
                for word, has in (
                    ("SUPERUSER", there.superuser), ("CREATEDB", there.create_db),
                    ("CREATEROLE", there.create_role), ("REPLICATION", there.replication),
                    ("BYPASSRLS", there.bypass_rls and not role.bypass_rls),
                )
                if has
            ]  # fmt: skip
            found.append(f"{name} is not as it should be{_listed(beyond)}")
        for group in sorted(set(there.member_of) - set(role.member_of)):
            found.append(f"{name} belongs to {group}")
        for group in sorted(set(role.member_of) - set(there.member_of)):
            found.append(f"{name} does not belong to {group}")
        pinned = any(setting.startswith("search_path=") for setting in there.settings)
        if role.login and not pinned:
            found.append(f"{name} has no search_path of its own here")
    found += [f"{name} may do more than a tenant" for name in _strong_tenants(state, roles)]
    return found


def _strong_tenants(state: State, roles: Mapping[Kind, str]) -> list[str]:
    return [
        name
        for name in state.tenants
        if (there := state.roles.get(name)) is not None
        and (
            there.superuser
            or there.bypass_rls
            or there.create_role
            or there.create_db
            or there.replication
            or there.member_of != (roles["tenant"],)
        )
    ]


def _listed(words: Sequence[str]) -> str:
    return f": it has {', '.join(words)}" if words else ""


def _told(rights: Iterable[Right], verb: str) -> list[str]:
    return [
        f"{r.role} {verb} {r.privilege} on {r.on} {r.object}{f'.{r.column}' if r.column else ''}"
        for r in sorted(rights)
    ]


def _of_public(state: State) -> list[Right]:
    return [r for r in state.rights if r.role == PUBLIC and r.on == "database"]


def _owner_findings(state: State, owner: str) -> list[str]:
    things = [
        *((r.name, r.owner) for r in known_relations(state)),
        *((f.name, f.owner) for f in known_functions(state)),
        *state.types.items(),
    ]
    return [f"{name} is owned by {whose}" for name, whose in sorted(things) if whose != owner]


def _row_findings(state: State) -> list[str]:
    missing, wrong = differing_rules(state)
    found = [f"{table} has no rule {name}" for table, name in missing]
    found += [f"the rule {name} of {table} was changed" for table, name in wrong]
    shut = {relation.name for relation in state.relations if relation.row_security}
    bare = {rule.table for rule in wanted_rules(state)} - shut
    return found + [f"rules of rows do not hold on {table}" for table in sorted(bare)]


def _orphans(names: Sequence[str] | None) -> Found:
    title = "Tenants that the server knows"
    if names is None:
        why = "the user may not read who is a tenant; ask as the owner or a superuser"
        return Found(id="tenants", title=title, verdict="unknown", findings=[why], advice="")
    return _found(
        "tenants",
        title,
        [f"{name} has no login on this server" for name in names],
        advice="After a restore elsewhere: `aegis security tenant remove`, or add it again.",
    )


def _encryption(found: server.Encryption) -> Found:
    title = "Connections from elsewhere are encrypted"
    problems: list[str] = []
    if found.listens_beyond:
        if not found.ssl:
            problems.append(f"ssl is off, and the server listens on {found.listen_addresses}")
        elif not found.oldest:
            why = "the user may not read ssl_min_protocol_version; GRANT pg_read_all_settings"
            return Found(id="tls", title=title, verdict="unknown", findings=[why], advice="")
        elif found.oldest in ("TLSv1", "TLSv1.1"):
            problems.append(f"ssl_min_protocol_version is {found.oldest}")
    return _found(
        "tls", title, problems, advice="`aegis security tls` prints the settings that it takes."
    )


async def _access(db: Database, settings: Settings) -> list[Found]:
    wanted = [c.id for c in CHECKS if c.id not in _LEFT_OUT]
    report = await Health(db, settings).check(only=wanted)
    return [
        Found(
            id=result.id,
            title=result.title,
            verdict=_VERDICTS[result.state],
            findings=[
                f"{f.object}: {f.observed}" if f.object else f.observed for f in result.findings
            ]
            or ([result.observed] if result.state == "unknown" else []),
            advice=result.advice if result.state != "ok" else "",
        )
        for result in report.results
    ]
