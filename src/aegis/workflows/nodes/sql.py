"""SQL as nodes: reading with a role of its own, and writing that commits with the step's record.

Reading goes over a connection of its own to `AEGIS_WORKFLOWS_SQL_URL`, whose role is the boundary:
a role that is set on a connection with more rights can be unset by the very statement. One
statement at a time, in a read-only transaction, with values bound, and time and rows limited.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import asynccontextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from aegis.errors import ConfigError, InvalidInput, LimitExceeded
from aegis.workflows.models import Problem
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param
from aegis.workflows.store import sql_nodes
from aegis.workflows.templates import has_template

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Runs, Step

__all__ = ["SqlRead", "SqlWrite"]

_READS: Final = ("SELECT", "WITH", "VALUES", "TABLE")
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT")
_FIRST: Final = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*([A-Za-z]+)", re.DOTALL)
_VALUES = Param(
    "object", "Values by name; the statement says `%(name)s`, never a template.", default={}
)
_TIMEOUT = Param("number", "Seconds it may take.", default=10, least=0.1, most=300)
_MOST_ROWS = 10_000


class SqlRead(Kind):
    """Reads rows."""

    name = "sql"
    doc = (
        "Reads rows with one statement, in a read-only transaction, as the role of "
        "`AEGIS_WORKFLOWS_SQL_URL`."
    )
    result = '`{"rows": [{column: value}], "truncated"}`; money and other exact numbers as text'
    params: ClassVar[Mapping[str, Param]] = {
        "statement": Param("text", "SELECT, WITH, VALUES or TABLE.", required=True, least=1,
                           most=50_000, literal=True),
        "values": _VALUES,
        "limit": Param("whole", "Rows at most; more are cut off.", default=100, least=1,
                       most=_MOST_ROWS),
        "timeout_s": _TIMEOUT,
    }  # fmt: skip

    def check_more(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with the statement."""
        return _check(params, _READS)

    async def act(self, step: Step, **params: Any) -> JSON:
        """Read on a connection that is opened for it."""
        _require(params["statement"], _READS)
        async with _reader(step.parts.settings) as conn:
            rows = await sql_nodes.read(
                conn,
                params["statement"],
                params["values"],
                timeout_ms=math.ceil(params["timeout_s"] * 1_000),
                limit=params["limit"] + 1,
            )
        return {"rows": _plain(rows[: params["limit"]]), "truncated": len(rows) > params["limit"]}


class SqlWrite(Kind):
    """Changes rows, exactly once."""

    name = "sql_write"
    runs: ClassVar[Runs] = "database"
    doc = (
        "Changes this database with one statement in the transaction that records the step: "
        "exactly once. Needs `AEGIS_WORKFLOWS_SQL_WRITE=on`."
    )
    result = '`{"count": rows touched, "rows": what RETURNING says}`'
    params: ClassVar[Mapping[str, Param]] = {
        "statement": Param("text", "INSERT, UPDATE, DELETE, MERGE, WITH or SELECT.", required=True,
                           least=1, most=50_000, literal=True),
        "values": _VALUES,
        "timeout_s": _TIMEOUT,
    }  # fmt: skip

    def check_more(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with the statement."""
        return _check(params, _WRITES)

    async def act(self, step: Step, **params: Any) -> JSON:
        """Run it in the transaction of the step's record."""
        _require(params["statement"], _WRITES)
        if step.parts.settings.workflows_sql_write != "on":
            raise ConfigError(
                "Nodes of type sql_write are off; AEGIS_WORKFLOWS_SQL_WRITE=on lets whoever may "
                "save workflows change everything.",
                code="workflow_sql_write",
            )
        assert step.conn is not None
        count, rows = await sql_nodes.write(
            step.conn,
            params["statement"],
            params["values"],
            timeout_ms=math.ceil(params["timeout_s"] * 1_000),
        )
        if len(rows) > _MOST_ROWS:
            raise LimitExceeded(
                f"The statement returns {len(rows):,} rows; {_MOST_ROWS:,} are kept.",
                code="workflow_rows",
            )
        return {"count": count, "rows": _plain(rows)}


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncGenerator[Connection]:
    """Open a connection as the reading role, and refuse one that may do more."""
    if not settings.workflows_sql_url:
        raise ConfigError(
            "SQL nodes need AEGIS_WORKFLOWS_SQL_URL, with a role that may only read; "
            "`aegis workflow reader` makes one.",
            code="workflow_sql_url",
        )
    async with sql_nodes.connect(settings.workflows_sql_url, settings) as conn:
        if await sql_nodes.may_do_everything(conn):
            raise ConfigError(
                "The role in AEGIS_WORKFLOWS_SQL_URL is a superuser, or may run programs and read "
                "files; name one that may only read (`aegis workflow reader` makes one).",
                code="workflow_sql_url",
            )
        yield conn


def _check(params: Mapping[str, JSON], allowed: Sequence[str]) -> list[Problem]:
    statement = params.get("statement")
    if not isinstance(statement, str) or has_template(statement):
        return []
    trouble = _trouble(statement, allowed)
    return [Problem(node="", field="params.statement", message=trouble)] if trouble else []


def _require(statement: str, allowed: Sequence[str]) -> None:
    trouble = _trouble(statement, allowed)
    if trouble:
        raise InvalidInput(f"The statement {trouble}.", code="workflow_parameter")


def _trouble(statement: str, allowed: Sequence[str]) -> str | None:
    found = _FIRST.match(statement)
    first = found.group(1).upper() if found else ""
    if first not in allowed:
        return f"begins with {first or statement[:20]!r}; use {', '.join(allowed)}"
    return None


def _plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, JSON]]:
    return [{name: _value(value) for name, value in row.items()} for row in rows]


def _value(value: Any) -> JSON:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (list, tuple)):
        return [_value(part) for part in cast("list[Any]", value)]
    if isinstance(value, dict):
        return json.loads(json.dumps(value, default=str))
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
