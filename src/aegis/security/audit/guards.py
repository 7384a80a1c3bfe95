"""The triggers that refuse changes, as revision 0027 makes them: what there must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["GUARDS", "Guard", "what_is_wrong"]

#: Bits of pg_trigger.tgtype: before (2), each row (1) of DELETE (8) and UPDATE (16), TRUNCATE (32).
_ROWS: Final = 1 + 2 + 8 + 16
_WHOLE: Final = 2 + 32
_BODY: Final = re.compile(r"CREATE FUNCTION (\w+)\(\).*?\$\$(.*?)\$\$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A trigger as the catalogue has it."""

    table: str
    function: str
    #: `A`: always.
    enabled: str
    type: int
    #: Whether it looks at every row and column.
    unconditional: bool
    #: Text of the function.
    source: str


#: Name of the trigger, its table and function.
GUARDS: Final[dict[str, tuple[str, str, int]]] = {
    f"tr_{table}_{part}": (table, function, bits)
    for table, function in (
        ("audit_head", "aegis_audit_head_moves_on"),
        ("audit_log", "aegis_audit_log_kept"),
        ("audit_seals", "aegis_audit_seals_kept"),
    )
    for part, bits in (("rows", _ROWS), ("whole", _WHOLE))
}


def what_is_wrong(found: dict[str, Guard]) -> list[str]:
    """Return what is not as it was made, in words."""
    wrong: list[str] = []
    for name, (table, function, bits) in GUARDS.items():
        guard = found.get(name)
        if guard is None:
            wrong.append(f"Trigger {name} of {table} is gone: its rows can be changed.")
        elif guard.enabled != "A":
            wrong.append(
                f"Trigger {name} of {table} is switched off: its rows can be changed. "
                f"`ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}` switches it on."
            )
        elif (guard.table, guard.function, guard.type) != (table, function, bits) or not (
            guard.unconditional
        ):
            wrong.append(f"Trigger {name} of {table} was replaced: its rows can be changed.")
        elif guard.source != _sources()[function]:
            wrong.append(f"Function {function} was replaced: rows of {table} can be changed.")
    return wrong


@cache
def _sources() -> dict[str, str]:
    path = files("aegis.db.migrations") / "sql" / "0027_audit_guards.sql"
    return dict(_BODY.findall(path.read_text(encoding="utf-8")))
