"""Learn the weights of recall's ranking from labels, and say how well they carry over.

    python -m benchmarks.train_fusion --data DIR [--write]

The model is a softmax over the candidates of a question, linear in the features of
`aegis.memory.ranking`, fitted by Newton's method: the loss is minus the mean log-probability of
the evidence, each source weighs the same, and there are two sets of weights, mixed by the mean
length of the namespace's memories. Figures are cross-validated: the weights for a conversation
never saw a question about it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import aegis.memory
from aegis.config import load_settings
from aegis.memory.embedding import open_embedder, vector_text
from aegis.memory.models import EpisodeFilter
from aegis.memory.ranking import FEATURES, Weights, load_weights, score_features
from aegis.memory.recall import Asked, gather
from aegis.memory.service import Memory
from aegis.memory.store.search import Space, read_question
from benchmarks.conversations import Conversation, read_conversations, recall_at, record
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aegis.db import Database

#: Penalty on the weights, in units of each feature's spread: small, as the model is.
_RIDGE = 1e-3
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Example:
    """One question: features of its candidates, and which of them are evidence."""

    source: str
    conversation: str
    keys: list[str]
    features: NDArray[np.float64]
    mean_terms: float
    evidence: frozenset[str]

    @property
    def gold(self) -> list[int]:
        return [i for i, key in enumerate(self.keys) if key in self.evidence]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_fusion")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="replace weights.json")
    args = parser.parse_args()
    examples = asyncio.run(_collect(read_conversations(args.data)))
    for source, figures in sorted(cross_validate(examples).items()):
        print(source, " ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    weights = fit(examples)
    text = _as_json(weights)
    print(text)
    if args.write:
        Path(aegis.memory.__path__[0], "weights.json").write_text(text, encoding="utf-8")


def cross_validate(examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """Return the figures of each source, every conversation left out once."""
    found: dict[str, list[dict[str, float]]] = {}
    for name in sorted({example.conversation for example in examples}):
        weights = fit([example for example in examples if example.conversation != name])
        for example in examples:
            if example.conversation == name:
                answer = _answer(example, weights)
                found.setdefault(example.source, []).append(recall_at(answer, example.evidence))
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
    return Weights(
        short=raw_weights[:half].tolist(),
        long=raw_weights[half:].tolist(),
        short_terms=shape.short_terms,
        long_terms=shape.long_terms,
    )


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
                    now=datetime.now(UTC),
                )
                examples.append(
                    await _example(db, asked, keys, conversation.source, question.evidence)
                )
    await embedder.aclose()
    return examples


async def _example(
    db: Database, asked: Asked, keys: dict[int, str], source: str, evidence: frozenset[str]
) -> Example:
    namespace = asked.where.namespace or ""
    async with db.transaction() as conn:
        facts = await read_question(conn, query=asked.query, namespace=namespace, ef_search=80)
        candidates, weighed = await gather(conn, asked, facts)
    return Example(
        source=source,
        conversation=namespace,
        keys=[keys[row_id] for row_id in candidates.ids],
        features=score_features(candidates, weighed),
        mean_terms=weighed.mean_terms,
        evidence=evidence,
    )


def _as_json(weights: Weights) -> str:
    content = {
        "short": dict(zip(FEATURES, [round(w, 4) for w in weights.short], strict=True)),
        "long": dict(zip(FEATURES, [round(w, 4) for w in weights.long], strict=True)),
        "short_terms": weights.short_terms,
        "long_terms": weights.long_terms,
    }
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    main()
