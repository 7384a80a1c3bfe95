"""The figures of recall's quality are the same each time that they are measured."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from benchmarks.retrieval import run

if TYPE_CHECKING:
    from pathlib import Path

TOPICS = ("tea in the garden", "a bicycle behind the shed", "the disk of db1", "trains to Oslo")


def write_conversations(folder: Path) -> None:
    for name in ("one", "two"):
        messages = [
            {
                "id": f"{name}-{n}",
                "session": n // 8,
                "time": f"2026-01-{n // 8 + 1:02}T10:{n % 60:02}:00+00:00",
                "author": ("Ann", "Bob")[n % 2],
                "text": f"I thought of {TOPICS[n % 4]}, for the {n}th time, in {name}.",
            }
            for n in range(40)
        ]
        questions = [
            {
                "question": f"Who thought of {TOPICS[n % 4]} on that day?",
                "evidence": [f"{name}-{n}"],
                "category": str(n % 2),
            }
            for n in range(0, 40, 3)
        ]
        document = {"source": "Made up", "messages": messages, "questions": questions}
        (folder / f"{name}.json").write_text(json.dumps(document))


def figures(folder: Path) -> dict[str, float]:
    found: Any = run(argparse.Namespace(data=folder, peers=None, cache=None))
    return {name: value for name, value in found.items() if not name.endswith(("_ms", "_per_s"))}


def test_the_same_conversations_give_the_same_figures_each_time(tmp_path: Path) -> None:
    write_conversations(tmp_path)
    first = figures(tmp_path)
    assert figures(tmp_path) == first
    assert {name.partition(".")[0] for name in first} == {"Made up"}
    by_category = [first[f"Made up.{n}.recall_at_10"] for n in (0, 1)]
    assert min(by_category) <= first["Made up.recall_at_10"] <= max(by_category)
    # It measures something: neither nothing nor everything comes first.
    assert 0.05 < first["Made up.mrr"] < 1
