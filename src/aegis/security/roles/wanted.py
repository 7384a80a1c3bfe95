"""From the description and what there is: which rights, defaults and rules there should be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aegis.security.roles.description import (
    APP_RIGHTS,
    CATALOG_VIEWS,
    DATABASE_RIGHTS,
    DEFAULTS,
    FILLED,
    FUNCTIONS,
    HIDDEN,
    MONITORED,
    TABLES,
)
from aegis.security.roles.models import PUBLIC, Default, Right, Rule
from aegis.security.roles.tenant_tables import UNSEEN, condition_of, open_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aegis.security.roles.models import Function, Kind, Relation, State

__all__ = [
    "MAINTAIN_SINCE",
    "known_functions",
    "known_relations",
    "normal",
    "wanted_defaults",
    "wanted_rights",
    "wanted_rules",
]

#: From this version on tables can be vacuumed and reindexed by whom the owner lets.
MAINTAIN_SINCE: Final = 17_00_00

_CALLERS: Final[dict[str, tuple[Kind, ...]]] = {
    "app": ("app",),
    "read": ("app", "readonly", "tenant"),
}


def known_relations(state: State) -> list[Relation]:
    """Return the tables, partitions and sequences that the description speaks of."""
    return [relation for relation in state.relations if relation.root in TABLES]


def known_functions(state: State) -> list[Function]:
    """Return the functions that are ours: those of the description, and those of our triggers."""
    return [f for f in state.functions if f.plain in FUNCTIONS or f.is_trigger]


def wanted_rights(
    state: State, roles: Mapping[Kind, str], *, shared: bool = False
) -> frozenset[Right]:
    """Return every right that our roles and PUBLIC should have, owners' own left out.

    In a database that is `shared` with other programs, everybody may go on connecting.
    """
    found = {*_on_database(state, roles, shared=shared), *_on_schema(state, roles, shared=shared)}
    for relation in known_relations(state):
        if relation.kind == "sequence":
            found |= {*_on_sequence(relation, roles)}
        else:
            found |= {*_on_table(state, relation, roles)}
    for function in known_functions(state):
        found |= {*_on_function(function, roles)}
    return frozenset(found)


def _on_database(state: State, roles: Mapping[Kind, str], *, shared: bool) -> Iterator[Right]:
    for kind, privileges in DATABASE_RIGHTS.items():
        for privilege in privileges:
            if roles[kind] != state.database_owner:
                yield _right(roles[kind], "database", state.database, privilege)
    if shared:
        yield from _left(state, "database", "CONNECT", "TEMPORARY")


def _left(state: State, on: str, *privileges: str) -> Iterator[Right]:
    """Return what PUBLIC has of these, to be left alone."""
    for right in state.rights:
        if right.role == PUBLIC and right.on == on and right.privilege in privileges:
            yield right


def _on_schema(state: State, roles: Mapping[Kind, str], *, shared: bool) -> Iterator[Right]:
    for name in roles.values():
        yield _right(name, "schema", state.schema, "USAGE")
    yield _right(roles["owner"], "schema", state.schema, "CREATE")
    if shared:
        yield from _left(state, "schema", "USAGE")
    for name in CATALOG_VIEWS:
        privilege = "EXECUTE" if name.endswith("()") else "SELECT"
        yield _right(roles["monitor"], "catalog", name, privilege)


def _on_table(state: State, relation: Relation, roles: Mapping[Kind, str]) -> Iterator[Right]:
    root = relation.root
    partition = relation.name != root
    privileges = set(APP_RIGHTS[TABLES[root]])
    if state.version_num >= MAINTAIN_SINCE and TABLES[root] not in ("own", "schema"):
        privileges.add("MAINTAIN")
    for privilege in privileges:
        yield _right(roles["app"], "table", relation.name, privilege)
    for column in FILLED.get(root, ()):
        yield Right(
            role=roles["app"],
            on="column",
            object=relation.name,
            privilege="UPDATE",
            column=column,
        )
    if relation.name in MONITORED:
        yield _right(roles["monitor"], "table", relation.name, "SELECT")
    if partition:
        # The others read it through its table, whose rules hold for them.
        return
    if TABLES[root] not in ("own", "secret"):
        yield from _reads(roles["readonly"], relation, HIDDEN.get(root))
    if root in open_tables():
        yield from _reads(roles["tenant"], relation, UNSEEN.get(root))


def _reads(role: str, relation: Relation, hidden: frozenset[str] | None) -> Iterator[Right]:
    if not hidden:
        yield _right(role, "table", relation.name, "SELECT")
        return
    for column in relation.columns:
        if column not in hidden:
            yield Right(
                role=role, on="column", object=relation.name, privilege="SELECT", column=column
            )


def _on_sequence(relation: Relation, roles: Mapping[Kind, str]) -> Iterator[Right]:
    if TABLES[relation.root] == "own":
        return
    for privilege in ("USAGE", "SELECT"):
        yield _right(roles["app"], "sequence", relation.name, privilege)


def _on_function(function: Function, roles: Mapping[Kind, str]) -> Iterator[Right]:
    # A trigger calls its function whether or not who writes may.
    if function.is_trigger:
        return
    callers = FUNCTIONS[function.plain]
    if callers == "all":
        yield _right(PUBLIC, "function", function.name, "EXECUTE")
        return
    for kind in _CALLERS[callers]:
        yield _right(roles[kind], "function", function.name, "EXECUTE")


def wanted_defaults(roles: Mapping[Kind, str], version_num: int) -> frozenset[Default]:
    """Return the rights on what the owner makes later."""
    found = {
        Default(role=roles[kind], on=on, privilege=privilege)
        for kind, kinds in DEFAULTS.items()
        for on, privileges in kinds.items()
        for privilege in privileges
    }
    if version_num >= MAINTAIN_SINCE:
        found.add(Default(role=roles["app"], on="TABLES", privilege="MAINTAIN"))
    return frozenset(found)


def wanted_rules(state: State) -> frozenset[Rule]:
    """Return the rules of rows: of each open table, and of each of its partitions."""
    found: set[Rule] = set()
    for relation in known_relations(state):
        if relation.kind == "table" and relation.root in open_tables():
            condition = condition_of(relation.root, state.schema)
            found |= {
                # A table with rules shows nothing that none allows; whom no other rule binds sees
                # what its rights let it see.
                Rule(table=relation.name, name="aegis_everyone", permissive=True, condition="true"),
                Rule(
                    table=relation.name, name="aegis_tenant", permissive=False, condition=condition
                ),
            }
    return frozenset(found)


def normal(condition: str) -> str:
    """Return a condition without what PostgreSQL adds to it when it prints it."""
    text = re.sub(r"::(text|character varying)", "", condition)
    text = re.sub(r'\sAS\s+("[^"]*"|\w+)', "", text)
    text = re.sub(r'("[^"]+"|\w+)\.', "", text)
    return re.sub(r'[\s()"]', "", text).lower()


def _right(role: str, on: str, object: str, privilege: str) -> Right:
    return Right(role=role, on=on, object=object, privilege=privilege)  # pyright: ignore[reportArgumentType]
