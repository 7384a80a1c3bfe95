"""Which columns may be encrypted, what comes along, and why others may not be. Pure.

A column is in the catalogue when every reader and writer of it goes through `Columns`; a test looks
for those that do not. Adding one is an entry here, a trigger in a revision, and its stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CATALOGUE", "Sealable", "columns_of", "find_column", "with_copies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealable:
    """A column that may be encrypted."""

    table: str
    column: str
    #: Column that tells its rows, which never changes; a value is bound to it.
    key: str
    #: Type of that column.
    key_type: str = "text"
    #: Fields of a JSON object that are encrypted, each a text; empty where the column is a text.
    fields: tuple[str, ...] = ()
    #: Column with the keyed hash that equality is searched by; None where nobody searches.
    hash_column: str | None = None
    #: Columns that hold copies of it: they are encrypted with it.
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.table}.{self.column}"


CATALOGUE: Final[tuple[Sealable, ...]] = (
    Sealable(
        table="billing_accounts",
        column="name",
        key="customer_id",
        copies=("billing_invoices.customer_name", "billing_stripe_outbox.payload"),
    ),
    Sealable(
        table="billing_accounts",
        column="email",
        key="customer_id",
        hash_column="email_hash",
        copies=("billing_stripe_outbox.payload",),
    ),
    Sealable(
        table="billing_accounts",
        column="address",
        key="customer_id",
        copies=("billing_invoices.customer_address",),
    ),
    Sealable(table="billing_invoices", column="customer_name", key="id", key_type="bigint"),
    Sealable(table="billing_invoices", column="customer_address", key="id", key_type="bigint"),
    Sealable(
        table="billing_stripe_outbox", column="payload", key="subject", fields=("name", "email")
    ),
)

#: Why the columns of a table are not in the catalogue; what is not named here just is not in it.
_WHY_NOT: Final = {
    "episodic_memory": "memories are searched by words and by meaning, which encrypted text cannot "
    "be",
    "semantic_memory": "facts are searched by words and by meaning, which encrypted text cannot be",
    "decision_outcomes": "decisions are searched by meaning, which encrypted text cannot be",
    "store_items": "items are filtered and searched by their values in SQL",
    "alert_channels": "it holds nothing secret: addresses of channels are settings alone",
    "api_keys": "keys are kept as hashes, and `name` is too short a type to hold encrypted text",
    "api_key_secrets": "it holds fingerprints alone, and no secret",
}


def find_column(name: str) -> Sealable:
    """Return the entry of `table.column`.

    Raises:
        InvalidInput: `column_not_encryptable`, with the reason.
    """
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    why = _WHY_NOT.get(name.partition(".")[0], "no reader of it would decrypt it")
    known = ", ".join(entry.name for entry in CATALOGUE)
    raise InvalidInput(
        f"{name[:130]!r} cannot be encrypted: {why}. Columns that can be: {known}.",
        code="column_not_encryptable",
    )


def columns_of(table: str) -> tuple[Sealable, ...]:
    """Return the entries of a table."""
    return tuple(entry for entry in CATALOGUE if entry.table == table)


def with_copies(names: Sequence[str]) -> tuple[Sealable, ...]:
    """Return these columns and those that hold copies of them, each once (`InvalidInput`)."""
    found: dict[str, Sealable] = {}
    for name in names:
        entry = find_column(name)
        for one in (entry, *(find_column(copy) for copy in entry.copies)):
            found.setdefault(one.name, one)
    return tuple(found.values())
