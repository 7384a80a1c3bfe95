"""What roles are, what they may do, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = [
    "KINDS",
    "PUBLIC",
    "Applied",
    "CheckReport",
    "Default",
    "Found",
    "Function",
    "Kind",
    "On",
    "Relation",
    "Right",
    "Role",
    "RoleState",
    "Rule",
    "State",
    "Step",
    "Tenant",
    "Verdict",
]

Kind = Literal["owner", "app", "readonly", "monitor", "backup", "tenant"]
KINDS: tuple[Kind, ...] = ("owner", "app", "readonly", "monitor", "backup", "tenant")

#: What a right is on. `catalog` is a view or function of PostgreSQL's own.
On = Literal["database", "schema", "table", "column", "sequence", "function", "catalog"]

#: Everybody, whoever logs in.
PUBLIC = "PUBLIC"

Verdict = Literal["ok", "bad", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a role is like, beside its rights."""

    purpose: str
    #: Whether it has a password; the group of tenants has none.
    login: bool = True
    #: Whether it sees every row of the tables that it may read.
    bypass_rls: bool = True
    #: Connections at once; -1 for any number.
    connections: int = -1
    #: Roles of PostgreSQL's own that it belongs to.
    member_of: tuple[str, ...] = ()
    #: Settings that it begins with in this database; `search_path` comes on top.
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """One privilege of one role on one thing."""

    role: str
    on: On
    #: Name in our schema; of a function with its argument types.
    object: str
    privilege: str
    #: Of a right on a column alone.
    column: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Default:
    """A right that is given on what the owner makes later; `on` in capitals, such as TABLES."""

    role: str
    on: str
    privilege: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, partition or sequence of the schema."""

    name: str
    kind: Literal["table", "sequence"]
    owner: str
    #: The table that a partition is of in the end, that a sequence numbers; else itself.
    root: str
    columns: tuple[str, ...]
    row_security: bool
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of the schema, extensions' own left out."""

    #: With its argument types, as REVOKE takes it.
    name: str
    #: Its bare name.
    plain: str
    owner: str
    is_trigger: bool


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Rule:
    """A policy on a table."""

    table: str
    name: str
    permissive: bool
    #: As PostgreSQL prints it.
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleState:
    """A role as the server has it."""

    name: str
    login: bool
    superuser: bool
    create_db: bool
    create_role: bool
    replication: bool
    bypass_rls: bool
    connections: int
    member_of: tuple[str, ...]
    #: `name=value` of this database.
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the server and the database are like now."""

    database: str
    database_owner: str
    schema: str
    #: Other schemas that hold types and operators of extensions in use.
    beside: tuple[str, ...]
    version_num: int
    user: str
    superuser: bool
    create_role: bool
    roles: Mapping[str, RoleState]
    relations: Sequence[Relation]
    functions: Sequence[Function]
    #: Types of the schema that are ours, with their owners.
    types: Mapping[str, str]
    #: Of our roles, of tenants and of PUBLIC; what an owner has by being one is left out.
    rights: frozenset[Right]
    defaults: frozenset[Default]
    rules: frozenset[Rule]
    #: Roles written down in `security_roles`.
    noted: Mapping[str, str]
    tenants: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    #: Needs a superuser, or an owner of the tables.
    needs: Literal["superuser", "owner"]
    what: str
    #: As it is run; a password stands in it as `…`.
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What `apply` did, or would do."""

    done: bool
    steps: Sequence[Step]
    #: Files that passwords are in, by role.
    passwords: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One check of who may do what."""

    id: str
    title: str
    verdict: Verdict
    #: What is not as it should be, or why it cannot be told.
    findings: Sequence[str]
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All checks."""

    checked_at: datetime
    #: As bad as the worst: `bad`, then `unknown`.
    verdict: Verdict
    #: `roles`, or `single`: one role owns and uses everything.
    mode: Literal["roles", "single"]
    checks: Sequence[Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A login that sees one namespace's or one customer's rows."""

    role_name: str
    namespace: str | None
    customer_id: str | None
    created_at: datetime
    #: Whether the server has the login; not so after a restore elsewhere.
    can_log_in: bool
