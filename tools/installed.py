"""What is installed in this environment, and what the locks say should be."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ROOT", "Recorded", "closure", "distributions", "name_of", "read_lock", "records"]

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A file as the RECORD of its package has it."""

    package: str
    path: Path
    #: `sha256` and the like; empty where nothing was noted, as of compiled files.
    algorithm: str
    digest: str
    size: int | None


def name_of(text: str) -> str:
    """Return the normalised name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", text.split("[")[0].strip()).lower()


def read_lock(path: Path) -> dict[str, str]:
    """Return version by name of a lock: plain `name==version` lines."""
    pairs = (line.split("==") for line in path.read_text().splitlines() if "==" in line)
    return {name_of(name): version.strip() for name, version in pairs}


def distributions() -> dict[str, metadata.Distribution]:
    """Return what is installed, by name."""
    return {name_of(d.metadata["Name"]): d for d in metadata.distributions()}


def records(distribution: metadata.Distribution) -> Iterator[Recorded]:
    """Yield the files that a package's RECORD lists, itself left out."""
    package = name_of(distribution.metadata["Name"])
    text = distribution.read_text("RECORD") or ""
    for path, noted, size, *_ in csv.reader(text.splitlines()):
        algorithm, _, digest = noted.partition("=")
        yield Recorded(
            package=package,
            path=Path(str(distribution.locate_file(path))),
            algorithm=algorithm,
            digest=digest,
            size=int(size) if size else None,
        )


def closure(
    requirements: Iterable[str], installed: Mapping[str, metadata.Distribution]
) -> dict[str, set[str]]:
    """Return all that `requirements` need here, by name, each with what it needs itself.

    Raises:
        LookupError: something needed is not installed.
    """
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = name_of(wanted.name)
        if name not in installed:
            raise LookupError(f"{wanted} is needed and not installed; run `make install`")
        needs = found.setdefault(name, set())
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in installed[name].requires or ():
                needed = Requirement(text)
                applies = needed.marker is None or needed.marker.evaluate({"extra": extra})
                if applies and (extra == "" or "extra" in str(needed.marker)):
                    needs.add(name_of(needed.name))
                    waiting.append(needed)
    return found
