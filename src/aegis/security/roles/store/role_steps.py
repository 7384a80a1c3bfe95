"""The statements that make roles and their rights what they should be; each may be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, LiteralString

from psycopg import sql

from aegis.security.roles.models import PUBLIC, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection
    from aegis.security.roles.models import Default, Right, Role, Rule

__all__ = [
    "Act",
    "become_owner",
    "create_role",
    "drop_rule",
    "give_default",
    "give_membership",
    "grant",
    "no_public_functions",
    "note_role",
    "perform",
    "protect",
    "revoke",
    "set_password",
    "set_up",
    "settings_of",
    "take_default",
    "take_membership",
    "write_rule",
]

Owned = Literal["TABLE", "SEQUENCE", "FUNCTION", "TYPE"]
_OWNED: Final[dict[str, LiteralString]] = {
    "TABLE": "TABLE",
    "SEQUENCE": "SEQUENCE",
    "FUNCTION": "FUNCTION",
    "TYPE": "TYPE",
}
_ON: Final[dict[str, LiteralString]] = {
    "database": "DATABASE",
    "schema": "SCHEMA",
    "table": "TABLE",
    "column": "TABLE",
    "sequence": "SEQUENCE",
    "function": "FUNCTION",
}
_DEFAULT_ON: Final[dict[str, LiteralString]] = {
    "TABLES": "TABLES",
    "SEQUENCES": "SEQUENCES",
    "FUNCTIONS": "FUNCTIONS",
}
#: Privileges as they stand in statements; nothing else gets into one.
_PRIVILEGES: Final[dict[str, LiteralString]] = {
    "SELECT": "SELECT", "INSERT": "INSERT", "UPDATE": "UPDATE", "DELETE": "DELETE",
    "TRUNCATE": "TRUNCATE", "REFERENCES": "REFERENCES", "TRIGGER": "TRIGGER",
    "MAINTAIN": "MAINTAIN", "USAGE": "USAGE", "CREATE": "CREATE", "CONNECT": "CONNECT",
    "TEMPORARY": "TEMPORARY", "EXECUTE": "EXECUTE",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A step with its statement."""

    step: Step
    statement: sql.Composed


def _act(
    needs: Literal["superuser", "owner"],
    what: str,
    statement: sql.Composed,
    *,
    secret: bool = False,
) -> Act:
    shown = "ALTER ROLE … PASSWORD '…'" if secret else " ".join(statement.as_string(None).split())
    return Act(step=Step(needs=needs, what=what, statement=shown), statement=statement)


async def perform(conn: Connection, act: Act) -> None:
    """Run it, in the caller's transaction."""
    await conn.execute(act.statement)


def create_role(name: str, role: Role, *, exists: bool) -> Act:
    """Make a role, or make it what it should be."""
    statement = sql.SQL(
        "{verb} ROLE {name} {login} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT "
        "{rows} CONNECTION LIMIT {limit}"
    ).format(
        verb=sql.SQL("ALTER" if exists else "CREATE"),
        name=sql.Identifier(name),
        login=sql.SQL("LOGIN" if role.login else "NOLOGIN"),
        rows=sql.SQL("BYPASSRLS" if role.bypass_rls else "NOBYPASSRLS"),
        limit=sql.Literal(role.connections),
    )
    return _act("superuser", f"{'change' if exists else 'make'} the role {name}", statement)


def set_password(name: str, verifier: str) -> Act:
    """Give a role a password, as the server keeps it: it never sees the password itself."""
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(name), sql.Literal(verifier)
    )
    return _act("superuser", f"set the password of {name}", statement, secret=True)


def set_up(name: str, database: str, setting: str, value: Sequence[str]) -> Act:
    """Have a role begin with a setting in this database; a list of names is one for each."""
    statement = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
        sql.Identifier(name),
        sql.Identifier(database),
        sql.Identifier(setting),
        sql.SQL(", ").join(sql.Literal(part) for part in value),
    )
    return _act("superuser", f"{name} begins with {setting} = {', '.join(value)}", statement)


def give_membership(name: str, group: str) -> Act:
    """Let a role have what a group has, without becoming it."""
    statement = sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(
        sql.Identifier(group), sql.Identifier(name)
    )
    return _act("superuser", f"{name} gets what {group} has", statement)


def take_membership(name: str, group: str) -> Act:
    """Take a role out of a group."""
    statement = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(name))
    return _act("superuser", f"{name} no longer belongs to {group}", statement)


def become_owner(kind: Owned, schema: str, name: str, owner: str) -> Act:
    """Give a thing to its owner; `name` of a function has its argument types."""
    what = _called(schema, name) if kind == "FUNCTION" else sql.Identifier(schema, name)
    statement = sql.SQL("ALTER {} {} OWNER TO {}").format(
        sql.SQL(_OWNED[kind]), what, sql.Identifier(owner)
    )
    return _act("superuser", f"{owner} owns {name}", statement)


def grant(rights: Sequence[Right], schema: str) -> Act:
    """Give rights of one role on one thing."""
    return _rights("GRANT", "TO", rights, schema)


def revoke(rights: Sequence[Right], schema: str) -> Act:
    """Take them."""
    return _rights("REVOKE", "FROM", rights, schema)


def _rights(
    verb: LiteralString, preposition: LiteralString, rights: Sequence[Right], schema: str
) -> Act:
    first = rights[0]
    privileges: list[sql.Composable] = []
    columns = sorted(right.column for right in rights if right.column)
    for privilege in sorted({right.privilege for right in rights}):
        text: sql.Composable = sql.SQL(_PRIVILEGES[privilege])
        if columns:
            listed = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
            text = sql.SQL("{} ({})").format(text, listed)
        privileges.append(text)
    kind = first.on
    if kind == "catalog":
        is_function = first.object.endswith("()")
        kind = "function" if is_function else "table"
        place = _called("pg_catalog", first.object) if is_function else None
        target: sql.Composable = place or sql.Identifier("pg_catalog", first.object)
    elif kind == "function":
        target = _called(schema, first.object)
    elif kind in ("database", "schema"):
        target = sql.Identifier(first.object)
    else:
        target = sql.Identifier(schema, first.object)
    role: sql.Composable = sql.SQL("PUBLIC") if first.role == PUBLIC else sql.Identifier(first.role)
    statement = sql.SQL("{} {} ON {} {} {} {}").format(
        sql.SQL(verb), sql.SQL(", ").join(privileges), sql.SQL(_ON[kind]), target,
        sql.SQL(preposition), role,
    )  # fmt: skip
    said = ", ".join(sorted({right.privilege for right in rights}))
    what = f"{'give' if verb == 'GRANT' else 'take'} {said} on {first.object} {preposition.lower()}"
    needs = "superuser" if first.on in ("catalog", "database") else "owner"
    return _act(needs, f"{what} {first.role}", statement)


def _called(schema: str, function: str) -> sql.Composed:
    """Return a function's name; PostgreSQL printed it, with its argument types."""
    name, _, arguments = function.partition("(")
    bare = name[1:-1].replace('""', '"') if name.startswith('"') else name
    types: LiteralString = "(" + arguments  # pyright: ignore[reportAssignmentType]
    return sql.SQL("{}{}").format(sql.Identifier(schema, bare), sql.SQL(types))


def give_default(owner: str, schema: str, defaults: Sequence[Default]) -> Act:
    """Give rights on what the owner makes later, of one kind to one role."""
    return _defaults("GRANT", "TO", owner, schema, defaults)


def take_default(owner: str, schema: str, defaults: Sequence[Default]) -> Act:
    """Take them."""
    return _defaults("REVOKE", "FROM", owner, schema, defaults)


def _defaults(
    verb: LiteralString,
    preposition: LiteralString,
    owner: str,
    schema: str,
    defaults: Sequence[Default],
) -> Act:
    first = defaults[0]
    statement = sql.SQL(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} {} {} ON {} {} {}"
    ).format(
        sql.Identifier(owner),
        sql.Identifier(schema),
        sql.SQL(verb),
        sql.SQL(", ").join(sql.SQL(_PRIVILEGES[p]) for p in sorted(d.privilege for d in defaults)),
        sql.SQL(_DEFAULT_ON[first.on]),
        sql.SQL(preposition),
        sql.Identifier(first.role),
    )
    said = "give" if verb == "GRANT" else "take"
    return _act("superuser", f"{said} {first.role} rights on {first.on} made later", statement)


def no_public_functions(owner: str) -> Act:
    """Let functions that the owner makes later not be everybody's to call."""
    statement = sql.SQL(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    ).format(sql.Identifier(owner))
    return _act("superuser", "functions made later are not everybody's to call", statement)


def write_rule(schema: str, rule: Rule) -> Act:
    """Make a rule of rows."""
    condition: LiteralString = rule.condition  # pyright: ignore[reportAssignmentType]
    statement = sql.SQL("CREATE POLICY {} ON {} AS {} FOR ALL TO PUBLIC USING ({})").format(
        sql.Identifier(rule.name),
        sql.Identifier(schema, rule.table),
        sql.SQL("PERMISSIVE" if rule.permissive else "RESTRICTIVE"),
        sql.SQL(condition),
    )
    return _act("owner", f"write the rule {rule.name} of {rule.table}", statement)


def drop_rule(schema: str, table: str, name: str) -> Act:
    """Take a rule of rows away."""
    statement = sql.SQL("DROP POLICY {} ON {}").format(
        sql.Identifier(name), sql.Identifier(schema, table)
    )
    return _act("owner", f"take the rule {name} of {table} away", statement)


def protect(schema: str, table: str) -> Act:
    """Let rules of rows hold on a table."""
    statement = sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(
        sql.Identifier(schema, table)
    )
    return _act("owner", f"let rules of rows hold on {table}", statement)


def note_role(schema: str, kind: str, name: str) -> Act:
    """Write down which role is which."""
    statement = sql.SQL(
        """
        WITH others AS (
            DELETE FROM {table}
            WHERE kind = {kind}
              AND role_name <> {name}
        )
        INSERT INTO {table} (role_name, kind)
        VALUES ({name}, {kind})
        ON CONFLICT (role_name) DO UPDATE
        SET kind = excluded.kind,
            noted_at = now()
        """
    ).format(
        table=sql.Identifier(schema, "security_roles"),
        kind=sql.Literal(kind),
        name=sql.Literal(name),
    )
    return _act("owner", f"note {name} as {kind}", statement)


def settings_of(role: Role, schema: str, beside: Sequence[str] = ()) -> Mapping[str, Sequence[str]]:
    """Return the settings that a role begins with; names mean what they mean in our schema.

    `beside` are schemas of extensions. What a session makes for itself comes last.
    """
    plain = {name: (value,) for name, value in role.settings.items()}
    return {**plain, "search_path": (schema, *beside, "pg_temp")}
