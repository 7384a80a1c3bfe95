"""pgaudit, where the server has it: what PostgreSQL itself writes down of statements.

The audit log knows what went through Aegis. Who speaks SQL past it is in the server's own log, if
this extension writes it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from aegis.security.audit import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database

__all__ = ["PgAudit", "Setting", "judge", "look"]

#: What we propose, and why.
PROPOSED: Final = {
    "pgaudit.log": ("ddl, role", "changes of the schema and of rights"),
    "pgaudit.log_catalog": ("off", "what tools ask of the catalogue says nothing"),
    "pgaudit.log_parameter": ("off", "values would hold what was to be forgotten, and secrets"),
    "pgaudit.role": ("aegis_audited", "writes to the tables granted to this role are logged"),
}
#: Changes past Aegis to these are worth a line each.
TABLES: Final = ("api_keys", "billing_events", "billing_invoices", "audit_log", "audit_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of pgaudit as it is, and as it should be."""

    name: str
    #: None where the server does not know it.
    value: str | None
    proposed: str
    why: str

    @property
    def fits(self) -> bool:
        """Whether it is as proposed, or logs more."""
        if self.value is None:
            return False
        if self.name != "pgaudit.log":
            return self.value == self.proposed
        has, wants = _words(self.value), _words(self.proposed)
        excluded = {word[1:] for word in has if word.startswith("-")}
        return ("all" in has or wants <= has) and not wants & excluded


@dataclass(frozen=True, slots=True, kw_only=True)
class PgAudit:
    """What there is of pgaudit, and what is to be done."""

    #: could_not_check: the server does not have it; off: it is not loaded or made.
    state: Literal["could_not_check", "off", "differs", "ok"]
    said: str
    #: Of what is installed; None where it is not made in this database.
    version: str | None
    settings: Sequence[Setting]
    #: Statements that bring it about, in their order.
    statements: Sequence[str]


async def look(db: Database) -> PgAudit:
    """Return what there is of pgaudit on this server."""
    async with db.transaction() as conn:
        available, installed, libraries = await store.pgaudit(conn)
        values = await store.settings(conn, list(PROPOSED))
    return judge(available=available, installed=installed, libraries=libraries, values=values)


def judge(
    *, available: str | None, installed: str | None, libraries: str, values: dict[str, str]
) -> PgAudit:
    """Return what versions, `shared_preload_libraries` and settings mean. Pure."""
    settings = [
        Setting(name=name, value=values.get(name), proposed=proposed, why=why)
        for name, (proposed, why) in PROPOSED.items()
    ]
    if available is None and installed is None:
        return PgAudit(
            state="could_not_check",
            said="This server has no pgaudit: install its package (on Debian "
            "postgresql-18-pgaudit), or do without what passes Aegis by.",
            version=None,
            settings=settings,
            statements=(),
        )
    loaded = "pgaudit" in {name.strip().strip('"') for name in libraries.split(",")}
    wanted = [setting for setting in settings if not setting.fits]
    statements: list[str] = []
    if not loaded:
        names = [name.strip() for name in libraries.split(",") if name.strip()]
        joined = ", ".join([*names, "pgaudit"])
        statements.append(f"ALTER SYSTEM SET shared_preload_libraries = {joined}; -- and restart")
    if installed is None:
        statements.append("CREATE EXTENSION pgaudit;")
    if any(setting.name == "pgaudit.role" for setting in wanted):
        statements.append("CREATE ROLE aegis_audited NOLOGIN;")
        statements.append(f"GRANT INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO aegis_audited;")
    statements += [f"ALTER SYSTEM SET {one.name} = '{one.proposed}';" for one in wanted]
    if wanted:
        statements.append("SELECT pg_reload_conf();")
    if not loaded or installed is None:
        state, said = "off", "pgaudit is there, and writes nothing yet."
    elif wanted:
        state, said = "differs", "pgaudit writes, and not as proposed."
    else:
        state, said = "ok", "pgaudit writes what passes Aegis by."
    return PgAudit(
        state=state, said=said, version=installed, settings=settings, statements=statements
    )


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",") if word.strip()}
