"""What has to be done so that the server is as the description says; nothing where it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from aegis.security.roles.description import ROLES, names
from aegis.security.roles.models import PUBLIC, Default
from aegis.security.roles.store import role_steps as steps
from aegis.security.roles.wanted import (
    known_functions,
    known_relations,
    normal,
    wanted_defaults,
    wanted_rights,
    wanted_rules,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aegis.security.roles.models import Kind, Right, Role, RoleState, State
    from aegis.security.roles.store.role_steps import Act

__all__ = ["differing_rules", "excess", "lack", "plan", "role_is"]

_NO_PUBLIC_FUNCTIONS = Default(role=PUBLIC, on="FUNCTIONS", privilege="NONE")


def plan(state: State, prefix: str, *, shared: bool = False) -> list[Act]:
    """Return the steps, in the order in which they are done."""
    roles = names(prefix)
    return [
        *_roles(state, roles),
        *_owners(state, roles["owner"]),
        *_revokes(state, roles, shared=shared),
        *_grants(state, roles, shared=shared),
        *_defaults(state, roles),
        *_rules(state),
        *_notes(state, roles),
    ]


def _roles(state: State, roles: Mapping[Kind, str]) -> Iterator[Act]:
    for kind, name in roles.items():
        role = ROLES[kind]
        there = state.roles.get(name)
        if there is None or not role_is(there, role):
            yield steps.create_role(name, role, exists=there is not None)
    for kind, name in roles.items():
        role, there = ROLES[kind], state.roles.get(name)
        members = set(() if there is None else there.member_of)
        for group in sorted(set(role.member_of) - members):
            yield steps.give_membership(name, group)
        for group in sorted(members - set(role.member_of)):
            yield steps.take_membership(name, group)
        if not role.login:
            # A group's settings are not its members'.
            continue
        has = set(() if there is None else there.settings)
        for setting, value in steps.settings_of(role, state.schema, state.beside).items():
            if f"{setting}={_as_kept(value)}" not in has:
                yield steps.set_up(name, state.database, setting, value)


def _as_kept(value: Iterable[str]) -> str:
    """Return a setting as the catalog keeps it: names of a list are quoted where they need it."""
    parts = list(value)
    if len(parts) == 1:
        return parts[0]
    return ", ".join(
        p if p.isidentifier() and p == p.lower() else '"' + p.replace('"', '""') + '"'
        for p in parts
    )


def role_is(there: RoleState, role: Role) -> bool:
    """Tell whether a role's own attributes are as they should be."""
    return (
        there.login == role.login
        and there.bypass_rls == role.bypass_rls
        and there.connections == role.connections
        and not (there.superuser or there.create_db or there.create_role or there.replication)
    )


def _owners(state: State, owner: str) -> Iterator[Act]:
    for relation in known_relations(state):
        # A sequence goes with its table.
        if relation.kind == "table" and relation.owner != owner:
            yield steps.become_owner("TABLE", state.schema, relation.name, owner)
    for function in known_functions(state):
        if function.owner != owner:
            yield steps.become_owner("FUNCTION", state.schema, function.name, owner)
    for name, whose in state.types.items():
        if whose != owner:
            yield steps.become_owner("TYPE", state.schema, name, owner)


def lack(state: State, roles: Mapping[Kind, str], *, shared: bool) -> set[Right]:
    """Return the rights that are missing."""
    return set(wanted_rights(state, roles, shared=shared) - state.rights)


def excess(state: State, roles: Mapping[Kind, str], *, shared: bool) -> set[Right]:
    """Return the rights that somebody of ours, or PUBLIC, has on what is ours and should not."""
    ours = {
        *(relation.name for relation in known_relations(state)),
        *(function.name for function in known_functions(state)),
    }
    wanted = wanted_rights(state, roles, shared=shared)
    return {
        right
        for right in state.rights - wanted
        if (right.object in ours or right.on in ("database", "schema", "catalog"))
        and right.role != roles["owner"]
    }


def _revokes(state: State, roles: Mapping[Kind, str], *, shared: bool) -> Iterator[Act]:
    for rights in _grouped(excess(state, roles, shared=shared)):
        yield steps.revoke(rights, state.schema)


def _grants(state: State, roles: Mapping[Kind, str], *, shared: bool) -> Iterator[Act]:
    for rights in _grouped(lack(state, roles, shared=shared)):
        yield steps.grant(rights, state.schema)


def _grouped(rights: Iterable[Right]) -> list[list[Right]]:
    groups: defaultdict[tuple[str, str, str], list[Right]] = defaultdict(list)
    for right in sorted(rights):
        groups[right.role, right.on, right.object].append(right)
    return list(groups.values())


def _defaults(state: State, roles: Mapping[Kind, str]) -> Iterator[Act]:
    owner = roles["owner"]
    wanted = wanted_defaults(roles, state.version_num)
    if _NO_PUBLIC_FUNCTIONS not in state.defaults:
        yield steps.no_public_functions(owner)
    there = state.defaults - {_NO_PUBLIC_FUNCTIONS}
    for act, found in ((steps.take_default, there - wanted), (steps.give_default, wanted - there)):
        groups: defaultdict[tuple[str, str], list[Default]] = defaultdict(list)
        for default in sorted(found):
            groups[default.role, default.on].append(default)
        for defaults in groups.values():
            yield act(owner, state.schema, defaults)


def differing_rules(state: State) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the rules, as table and name, that are missing or differ, and those that do differ."""
    there = {(r.table, r.name): r for r in state.rules}
    missing: list[tuple[str, str]] = []
    wrong: list[tuple[str, str]] = []
    for rule in sorted(wanted_rules(state)):
        found = there.get((rule.table, rule.name))
        if found is None:
            missing.append((rule.table, rule.name))
        elif found.permissive != rule.permissive or normal(found.condition) != normal(
            rule.condition
        ):
            wrong.append((rule.table, rule.name))
    return missing, wrong


def _rules(state: State) -> Iterator[Act]:
    missing, wrong = differing_rules(state)
    wanted = {(rule.table, rule.name): rule for rule in wanted_rules(state)}
    for table, name in wrong:
        yield steps.drop_rule(state.schema, table, name)
    # The rule that opens comes first: a table is not shut in between to whom it is open.
    for table, name in [*missing, *wrong]:
        yield steps.write_rule(state.schema, wanted[table, name])
    protected = {relation.name for relation in state.relations if relation.row_security}
    for table in sorted({rule.table for rule in wanted.values()} - protected):
        yield steps.protect(state.schema, table)


def _notes(state: State, roles: Mapping[Kind, str]) -> Iterator[Act]:
    for kind, name in roles.items():
        if state.noted.get(kind) != name:
            yield steps.note_role(state.schema, kind, name)
