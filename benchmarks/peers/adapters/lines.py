"""JSON lines between the benchmark and one peer; runs on the peer's packages, not on Aegis's.

A request is `{"call": "open" | "add" | "search", …}`, its answer one line: what was asked for with
`seconds`, the time of the peer's own call alone, or `{"error": "…"}`. Vectors come from a file and
are looked up by their text, so that no peer embeds anything and each has the very same ones.
"""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Setup", "Store", "Vectors", "serve"]


class Vectors:
    """The vectors of all texts of a run."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        texts: list[str] = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        self._numbers = array("f", (folder / "vectors.f32").read_bytes())
        self._dimensions = dimensions
        # Some peers strip what they are given.
        self._places = {text.strip(): place for place, text in enumerate(texts)}

    def of(self, text: str) -> list[float]:
        """Return the vector of a text.

        Raises:
            KeyError: the peer asks for another text than it was given.
        """
        start = self._places[text.strip()] * self._dimensions
        return self._numbers[start : start + self._dimensions].tolist()

    def many(self, texts: Iterable[str]) -> list[list[float]]:
        """Return the vector of each text."""
        return [self.of(text) for text in texts]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a peer is opened with."""

    #: An empty database of its own, on a server that has pgvector.
    dsn: str
    #: An empty folder of its own.
    folder: Path
    dimensions: int
    vectors: Vectors


class Store(Protocol):
    """One peer."""

    def add(self, scope: str, messages: list[dict[str, str]]) -> None:
        """Store messages, each with `id` and `text`, in a scope of their own."""
        ...

    def search(self, scope: str, question: str, k: int) -> list[str]:
        """Return the ids of the best `k` messages of a scope, best first."""
        ...


def serve(opener: Callable[[Setup], Store], *packages: str) -> None:
    """Answer requests until standard input ends; `packages` are named with their versions."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a library prints must not stand among the answers.
    os.dup2(2, 1)
    store: Store | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["call"] == "open":
                store = opener(_setup(request))
                answer: dict[str, Any] = {"versions": {p: metadata.version(p) for p in packages}}
            else:
                assert store is not None
                answer = _timed(store, request)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _setup(request: dict[str, Any]) -> Setup:
    return Setup(
        dsn=request["dsn"],
        folder=Path(request["folder"]),
        dimensions=request["dimensions"],
        vectors=Vectors(Path(request["vectors"]), request["dimensions"]),
    )


def _timed(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    if request["call"] == "add":
        store.add(request["scope"], request["messages"])
        return {"seconds": time.perf_counter() - started}
    ids = store.search(request["scope"], request["question"], request["k"])
    return {"seconds": time.perf_counter() - started, "ids": ids}
