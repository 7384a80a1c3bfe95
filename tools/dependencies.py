"""Whether what is installed is what the locks say, untouched, and under licences that we take.

    python -m tools.dependencies            versions, strangers, files and their sizes, licences
    python -m tools.dependencies --full     every file hashed as its package's RECORD says
    python -m tools.dependencies --audit    and known vulnerabilities, where a service answers

Nothing but `--audit` asks the network. Its service (`--osv-url`, OSV's otherwise) is first asked
about a version that is known to be vulnerable: one that knows nothing of it has not checked ours.
That is said as `could not check`, never passed over; `--strict` makes it an error.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools import licences, vulnerabilities
from tools.installed import ROOT, distributions, read_lock, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.metadata import Distribution

    from tools.installed import Recorded

__all__ = ["changed_files", "main", "strangers", "unlike_locks", "unlisted_starters"]

#: What an environment begins with, and ourselves.
_ALWAYS: Final = {"aegis-core", "pip", "setuptools", "wheel"}
_ALGORITHMS: Final = {"sha256", "sha384", "sha512"}


def unlike_locks(
    installed: Mapping[str, Distribution], locks: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Return what is missing, or of another version than a lock says."""
    found: list[str] = []
    for lock, wanted in locks.items():
        for name, version in sorted(wanted.items()):
            if name not in installed:
                found.append(f"{name} {version} of {lock} is not installed")
            elif installed[name].version != version:
                found.append(f"{name} is {installed[name].version}, {lock} says {version}")
    return found


def strangers(
    installed: Mapping[str, Distribution], locks: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Return what is installed and in no lock."""
    known = {name for wanted in locks.values() for name in wanted} | _ALWAYS
    return [f"{name} is in no lock" for name in sorted(set(installed) - known)]


def changed_files(recorded: Iterable[Recorded], *, full: bool) -> list[str]:
    """Return files that are missing or other than noted; by their sizes, or hashes if `full`."""
    with ThreadPoolExecutor() as pool:
        looks = pool.map(partial(_look, full=full), recorded)
        return sorted(problem for problem in looks if problem is not None)


def unlisted_starters(installed: Mapping[str, Distribution], listed: set[Path]) -> list[str]:
    """Return `.pth` files of the environment that no package brought: Python runs them at start."""
    folders = {Path(str(d.locate_file(""))) for d in installed.values()}
    return [
        f"{path.name} runs at every start and is of no package"
        for folder in sorted(folders)
        for path in sorted(folder.glob("*.pth"))
        # virtualenv and setuptools put theirs where no RECORD names it.
        if path not in listed and path.name not in ("_virtualenv.pth", "distutils-precedence.pth")
    ]


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; 0 where nothing is, 1 otherwise, 3 where `--strict` could not check."""
    parser = argparse.ArgumentParser(prog="python -m tools.dependencies", description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--audit", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--osv-url", default=vulnerabilities.OSV)
    given = parser.parse_args(arguments)
    installed = distributions()
    locks = {
        name: read_lock(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock")
    }
    locked = {name: d for name, d in installed.items() if name not in _ALWAYS}
    recorded = [file for d in locked.values() for file in records(d)]
    everything = {file.path for d in installed.values() for file in records(d)}
    problems = [
        *unlike_locks(installed, locks),
        *strangers(installed, locks),
        *changed_files(recorded, full=given.full),
        *unlisted_starters(installed, everything),
        *licences.refused(locked),
    ]
    how = "hashed" if given.full else "of the right size (--full hashes them)"
    for problem in problems:
        print(f"✗ {problem}")
    print(f"{len(locked)} packages, {len(recorded):,} files {how}: {len(problems)} problem(s).")
    if given.full:
        print(licences.report(locked))
    status = 1 if problems else 0
    if given.audit:
        outcome = vulnerabilities.audit(
            {name: d.version for name, d in locked.items()}, osv_url=given.osv_url
        )
        print(outcome.text)
        if outcome.state == "found":
            status = 1
        elif outcome.state == "could not check" and given.strict and not status:
            status = 3
    return status


def _look(one: Recorded, *, full: bool) -> str | None:
    what = f"{one.package}: {one.path}"
    if not one.digest:
        # Compiled files, and RECORD itself.
        return None
    try:
        size = one.path.stat().st_size
        if one.size is not None and size != one.size:
            return f"{what} has {size} bytes, not {one.size}"
        if not full:
            return None
        if one.algorithm not in _ALGORITHMS:
            return f"{what} is noted with {one.algorithm}, which proves nothing"
        with one.path.open("rb") as file:
            digest = hashlib.file_digest(file, one.algorithm).digest()
    except OSError as error:
        return f"{what} cannot be read: {error.strerror}"
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != one.digest.rstrip("="):
        return f"{what} is not what the package brought"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
