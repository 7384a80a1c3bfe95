"""pg_dump's table of contents: what an archive has, what belongs to what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aegis.errors import OpsError
from aegis.ops.backup.programs import first_error, run_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Contents", "Item", "read_contents"]

#: Kinds of entries whose name has more than one word; others have one.
_KINDS = (
    "TABLE DATA", "TABLE ATTACH", "INDEX ATTACH", "FK CONSTRAINT", "CHECK CONSTRAINT",
    "SEQUENCE SET", "SEQUENCE OWNED BY", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW",
    "FOREIGN TABLE", "FOREIGN DATA WRAPPER", "FOREIGN SERVER", "FOREIGN SERVER", "DEFAULT ACL",
    "EVENT TRIGGER", "ROW SECURITY", "OPERATOR CLASS", "OPERATOR FAMILY", "ACCESS METHOD",
    "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE", "SHELL TYPE", "PROCEDURAL LANGUAGE", "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION TABLE", "BLOB METADATA", "BLOB COMMENTS",
    "USER MAPPING", "DATABASE PROPERTIES", "STATISTICS DATA",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry."""

    id: int
    #: Such as `TABLE` or `FK CONSTRAINT`.
    kind: str
    schema: str
    name: str
    owner: str
    #: Ids of what has to be there before.
    needs: tuple[int, ...]
    line: str

    @property
    def title(self) -> str:
        """Return how people name it."""
        return self.name if self.schema in ("public", "-") else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The whole table of contents, in the archive's order."""

    database: str
    #: Of the server that was dumped, such as `18.6`.
    server_version: str
    #: Such as 18.
    client_major: int
    compression: str
    created: str
    items: tuple[Item, ...] = field(repr=False)

    def of_kind(self, *kinds: str) -> list[Item]:
        """Return the entries of some kinds."""
        return [item for item in self.items if item.kind in kinds]


def read_contents(pg_restore: Path, archive: Path) -> Contents:
    """Return what an archive says that it holds.

    Raises:
        OpsError: `archive_unreadable`, it is no archive, or of a newer pg_dump.
    """
    import tempfile

    with tempfile.TemporaryFile() as out:
        status, said = run_program(
            [pg_restore, "--list", "--verbose", archive], {"LC_ALL": "C"}, stdout=out
        )
        out.seek(0)
        text = out.read().decode(errors="replace")
    if status != 0:
        raise OpsError(
            f"{archive} cannot be read as an archive of pg_dump: {first_error(said)}.",
            code="archive_unreadable",
        )
    return _parse(text)


def _parse(text: str) -> Contents:
    header: dict[str, str] = {}
    items: list[Item] = []
    for line in text.splitlines():
        if line.startswith(";"):
            needs = re.match(r";\s+depends on:((?: \d+)+)", line)
            if needs and items:
                last = items[-1]
                items[-1] = Item(
                    id=last.id, kind=last.kind, schema=last.schema, name=last.name,
                    owner=last.owner, line=last.line,
                    needs=tuple(int(part) for part in needs.group(1).split()),
                )  # fmt: skip
            elif not items and ":" in line:
                name, _, value = line.lstrip("; ").partition(":")
                header.setdefault(name.strip(), value.strip())
            elif line.startswith("; Archive created at"):
                header["created"] = line.removeprefix("; Archive created at ").strip()
            continue
        item = _item(line)
        if item is not None:
            items.append(item)
    client = re.match(r"\d+", header.get("Dumped by pg_dump version", ""))
    return Contents(
        database=header.get("dbname", ""),
        server_version=header.get("Dumped from database version", "").split(" ")[0],
        client_major=int(client.group()) if client else 0,
        compression=header.get("Compression", "unknown").lower(),
        created=header.get("created", ""),
        items=tuple(items),
    )


def _item(line: str) -> Item | None:
    match = re.match(r"(\d+); \d+ \d+ (.+)$", line)
    if match is None:
        return None
    rest = match.group(2)
    kind = next((k for k in _KINDS if rest.startswith(k + " ")), rest.split(" ", 1)[0])
    words = rest[len(kind) + 1 :].split(" ")
    return Item(
        id=int(match.group(1)),
        kind=kind,
        schema=words[0],
        name=" ".join(words[1:-1]),
        owner=words[-1],
        needs=(),
        line=line,
    )
