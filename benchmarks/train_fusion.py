"""Learn the weights of recall's ranking from labels, and say how well they carry over.

    python -m benchmarks.train_fusion --data DIR [--write]

The model is a softmax over the candidates of a question, linear in the features of
`aegis.memory.ranking`, fitted by Newton's method: the loss is minus the mean log-probability of
the evidence, each source weighs the same, and there are two sets of weights, mixed by the mean
length of the namespace's memories. The two weights of time are fitted after that, with the others
held, to the questions that name a time; these are too few for sets of their own. Questions are
taken as asked the day after the conversation ends. Figures are cross-validated: the weights for a
conversation never saw a question about it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import aegis.memory
from aegis.config import load_settings
from aegis.memory.arms import Asked, gather, read
from aegis.memory.dates import understand
from aegis.memory.embedding import open_embedder, vector_text
from aegis.memory.models import EpisodeFilter
from aegis.memory.ranking import FEATURES, Weights, load_weights, score_features
from aegis.memory.service import Memory
from aegis.memory.store.search import Space
from aegis.memory.timing import weigh_times
from benchmarks.conversations import (
    Conversation,
    Question,
    read_conversations,
    recall_at,
    record,
)
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aegis.db import Database

#: Penalty on the weights, in units of each feature's spread: small, as the model is.
_RIDGE = 1e-3
#: The same on the weights of time, more because so few questions speak of it.
_TIME_RIDGE = 0.02
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Example:
    """One question: features of its candidates, and which of them are evidence."""

    source: str
    conversation: str
    category: str
    keys: list[str]
    features: NDArray[np.float64]
    mean_terms: float
    evidence: frozenset[str]
    #: Of each candidate, `when` and `told` of `aegis.memory.dates.closeness`: (candidates, 2).
    closeness: NDArray[np.float64]

    @property
    def gold(self) -> list[int]:
        return [i for i, key in enumerate(self.keys) if key in self.evidence]

    @property
    def dated(self) -> bool:
        """Whether the question names a time that anything is close to."""
        return bool(self.closeness.any())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_fusion")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="replace weights.json")
    args = parser.parse_args()
    examples = asyncio.run(_collect(read_conversations(args.data)))
    print("cross-validated, without the weights of time → with them")
    for group, figures in sorted(cross_validate(examples).items()):
        pairs = [
            f"{name} {figures[f'{name}_without_time']:.3f} → {value:.3f}"
            for name, value in figures.items()
            if f"{name}_without_time" in figures
        ]
        print(f"{group}: " + ", ".join(pairs))
    dated = [example for example in examples if example.dated]
    print(f"{len(dated)} of {len(examples)} questions name a time")
    weights = fit(examples)
    text = _as_json(weights)
    print(text)
    if args.write:
        Path(aegis.memory.__path__[0], "weights.json").write_text(text, encoding="utf-8")


def cross_validate(examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """Return the figures of each source and category, every conversation left out once."""
    found: dict[str, list[dict[str, float]]] = {}
    for name in sorted({example.conversation for example in examples}):
        weights = fit([example for example in examples if example.conversation != name])
        for example in examples:
            if example.conversation == name:
                figures = recall_at(_answer(example, weights), example.evidence)
                plain = replace(weights, when=0.0, told=0.0)
                before = recall_at(_answer(example, plain), example.evidence)
                figures |= {f"{name}_without_time": value for name, value in before.items()}
                groups = [example.source, f"{example.source} {example.category}"]
                for group in groups + [f"{example.source}, dated"] * example.dated:
                    found.setdefault(group, []).append(figures)
    return {
        source: {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        for source, rows in found.items()
    }


def fit(examples: Sequence[Example]) -> Weights:
    """Return the weights that make the evidence most likely."""
    usable = [example for example in examples if example.gold]
    share = {
        source: 1 / sum(example.source == source for example in usable)
        for source in {example.source for example in usable}
    }
    inputs = [_mixed(example) for example in usable]
    spread = np.concatenate(inputs).std(axis=0) + 1e-9
    theta = np.zeros(len(spread))
    for _ in range(30):
        gradient, curvature = _RIDGE * theta, _RIDGE * np.eye(len(theta))
        for example, raw in zip(usable, inputs, strict=True):
            x = raw / spread
            scores = x @ theta
            p = np.exp(scores - scores.max())
            p /= p.sum()
            mean = p @ x
            weight = share[example.source] / len(share)
            gradient -= weight * (x[example.gold].mean(axis=0) - mean)
            curvature += weight * ((x * p[:, None]).T @ x - np.outer(mean, mean))
        step = np.linalg.solve(curvature, gradient)
        # A full step may overshoot far from the optimum; the loss is convex.
        theta -= step * min(1.0, 2.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-6:
            break
    half = len(FEATURES)
    raw_weights = theta / spread
    shape = load_weights()
    weights = Weights(
        short=raw_weights[:half].tolist(),
        long=raw_weights[half:].tolist(),
        short_terms=shape.short_terms,
        long_terms=shape.long_terms,
    )
    when, told = _fit_time(usable, weights)
    return replace(weights, when=when, told=told)


def _fit_time(examples: Sequence[Example], weights: Weights) -> list[float]:
    """Return the weights of `when` and `told` that go best with the others as they are."""
    dated = [example for example in examples if example.dated]
    theta = np.zeros(2)
    for _ in range(30):
        gradient, curvature = _TIME_RIDGE * theta, _TIME_RIDGE * np.eye(2)
        for example in dated:
            x = example.closeness
            scores = example.features @ np.array(weights.at(example.mean_terms)) + x @ theta
            p = np.exp(scores - scores.max())
            p /= p.sum()
            mean = p @ x
            gradient -= (x[example.gold].mean(axis=0) - mean) / len(dated)
            curvature += ((x * p[:, None]).T @ x - np.outer(mean, mean)) / len(dated)
        step = np.linalg.solve(curvature, gradient)
        theta -= step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-9))
        if np.abs(step).max() < 1e-6:
            break
    return theta.tolist()


def _mixed(example: Example) -> NDArray[np.float64]:
    """Return the features once for each set of weights, in the namespace's proportion."""
    shape = load_weights()
    ends = Weights(
        short=[0.0] * len(FEATURES),
        long=[1.0] * len(FEATURES),
        short_terms=shape.short_terms,
        long_terms=shape.long_terms,
    )
    share = ends.at(example.mean_terms)[0]
    return np.concatenate([example.features * (1 - share), example.features * share], axis=1)


def _answer(example: Example, weights: Weights) -> list[str]:
    scores = example.features @ np.array(weights.at(example.mean_terms))
    scores = scores + example.closeness @ np.array([weights.when, weights.told])
    order = np.argsort(-scores, kind="stable")[:_DEEPEST]
    return [example.keys[i] for i in order]


async def _collect(conversations: Sequence[Conversation]) -> list[Example]:
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    examples: list[Example] = []
    async with migrated_database() as db:
        memory = Memory(db, embedder, namespace="default")
        for conversation in progress(conversations, "Recording and asking"):
            ids = await record(memory, conversation)
            keys = dict(zip(ids, (str(m["id"]) for m in conversation.messages), strict=True))
            asked_at = timedelta(days=1) + max(
                datetime.fromisoformat(m["time"]) for m in conversation.messages
            )
            vectors = await embedder.embed([question.text for question in conversation.questions])
            for question, vector in zip(conversation.questions, vectors, strict=True):
                asked = Asked(
                    query=question.text,
                    vector=vector_text(vector),
                    space=Space(model=embedder.model, dimensions=embedder.dimensions),
                    k=_DEEPEST,
                    mode="hybrid",
                    metric="cosine",
                    where=EpisodeFilter(namespace=conversation.name),
                    now=asked_at,
                    times=understand(question.text, asked_at),
                )
                examples.append(await _example(db, asked, keys, conversation.source, question))
    await embedder.aclose()
    return examples


async def _example(
    db: Database, asked: Asked, keys: dict[int, str], source: str, question: Question
) -> Example:
    namespace = asked.where.namespace or ""
    async with db.transaction() as conn:
        reading = await read(
            conn, query=asked.query, where=asked.where, mode="hybrid", k=asked.k, ef_search=80
        )
        candidates, weighed = await gather(conn, asked, reading), reading.question
        close = weigh_times(asked.times, candidates, asked.now.tzinfo)
    closeness = np.array([(c.when, c.told) for c in close] or [(0.0, 0.0)] * len(candidates.ids))
    return Example(
        source=source,
        conversation=namespace,
        category=question.category,
        keys=[keys[row_id] for row_id in candidates.ids],
        features=score_features(candidates, weighed),
        mean_terms=weighed.mean_terms,
        evidence=question.evidence,
        closeness=closeness.reshape(-1, 2),
    )


def _as_json(weights: Weights) -> str:
    content = {
        "short": dict(zip(FEATURES, [round(w, 4) for w in weights.short], strict=True)),
        "long": dict(zip(FEATURES, [round(w, 4) for w in weights.long], strict=True)),
        "short_terms": weights.short_terms,
        "long_terms": weights.long_terms,
        "when": round(weights.when, 4),
        "told": round(weights.told, 4),
    }
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    main()
