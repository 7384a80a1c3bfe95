"""Licences of what is installed: which we take, and what a package without a clear one is under."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import Distribution

__all__ = ["is_taken", "licence_of", "refused", "report"]

#: SPDX names. The weak copyleft ones bind changes to the package itself, which nobody here makes.
_TAKEN: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC"),
        *("MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "BSL-1.0"),
        *(
            "EPL-2.0",
            "LGPL-3.0-only",
            "LGPL-3.0-or-later",
            "LGPL-2.1-or-later",
            "MPL-2.0",
            "PostgreSQL",
        ),
    }
)
#: What classifiers and free texts mean.
_MEANT: Final = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
#: Packages whose metadata name no licence, as their licence files do.
_KNOWN: Final[dict[str, str]] = {}


def licence_of(name: str, distribution: Distribution) -> str:
    """Return the licence of a package as an SPDX expression, or what else its metadata say."""
    if name in _KNOWN:
        return _KNOWN[name]
    metadata: Any = distribution.metadata
    expression: str | None = metadata.get("License-Expression")
    if expression:
        return expression
    classified: list[str] = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::") and not text.endswith(("OSI Approved", "DFSG approved"))
    ]
    if classified:
        return " OR ".join(sorted({_MEANT.get(text.lower(), text) for text in classified}))
    free = " ".join((metadata.get("License") or "").split())
    return _MEANT.get(free.lower(), free[:60]) or "none named"


def is_taken(expression: str) -> bool:
    """Return whether an SPDX expression leaves a way that we take: each AND, or one OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+(?: WITH \S+)?", expression)
    value, rest = _either(tokens)
    return value and not rest


def refused(installed: Mapping[str, Distribution]) -> list[str]:
    """Return packages under a licence that is not on the list."""
    found = {name: licence_of(name, d) for name, d in sorted(installed.items())}
    return [f"{n} is under {text!r}" for n, text in found.items() if not is_taken(text)]


def report(installed: Mapping[str, Distribution]) -> str:
    """Return how many packages are under which licence."""
    counts = Counter(licence_of(name, d) for name, d in installed.items())
    return "\n".join(f"{count:5} {text}" for text, count in sorted(counts.items()))


def _either(tokens: list[str]) -> tuple[bool, list[str]]:
    value, rest = _both(tokens)
    while rest[:1] == ["OR"]:
        other, rest = _both(rest[1:])
        value = value or other
    return value, rest


def _both(tokens: list[str]) -> tuple[bool, list[str]]:
    value, rest = _one(tokens)
    while rest[:1] == ["AND"]:
        other, rest = _one(rest[1:])
        value = value and other
    return value, rest


def _one(tokens: list[str]) -> tuple[bool, list[str]]:
    if not tokens:
        return False, []
    if tokens[0] == "(":
        value, rest = _either(tokens[1:])
        return (value, rest[1:]) if rest[:1] == [")"] else (False, rest)
    return tokens[0] in _TAKEN, tokens[1:]
