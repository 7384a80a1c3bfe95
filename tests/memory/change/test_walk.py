"""Random walks through changes, with kills and writes between any two lines.

After every step each memory is found by its own words in the space that recall asks.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import AegisError
from aegis.memory import arms
from tests.memory.change.conftest import WordEmbedder, client
from tests.memory.change.test_moving import by_the_graph

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Connection, Database
    from aegis.memory import Memory

STEPS = 45

#: Rows whose vector of the active model is not beside them, though it is searched there.
MISSING = """
SELECT count(*)
FROM episodic_memory e
JOIN embedding_models m ON m.model = e.embedding_model AND m.beside_until = 'infinity'
WHERE NOT EXISTS (
    SELECT
    FROM episodic_vectors v
    WHERE v.id = e.id
      AND v.model = m.model
      AND v.embedding = e.embedding
)
"""


class Killed(Exception):
    """The process is gone."""


class Mortal:
    """A database whose user is killed before or after the n-th transaction from now."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.settings = db.settings
        self.left: int | None = None
        self.after = False

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        last = self._count()
        if last and not self.after:
            raise Killed
        async with self._db.transaction() as conn:
            yield conn
        if last:
            raise Killed

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection, None]:
        if self._count() and not self.after:
            raise Killed
        async with self._db.connection() as conn:
            yield conn

    @asynccontextmanager
    async def session(self, what: str) -> AsyncGenerator[Connection, None]:
        del what
        async with self.connection() as conn:
            yield conn

    #: One role owns and uses the tests' databases.
    owner = session

    def require_session(self, what: str) -> None:
        self._db.require_session(what)

    def _count(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left <= 0


class Walk:
    def __init__(self, db: Database, seed: int) -> None:
        self.rng = Random(seed)
        self.db = db
        self.embedders = WordEmbedder("model-a", 12), WordEmbedder("model-b", 20)
        self.mortal = Mortal(db)
        #: Lives as long as the walk; the worker dies and is born again.
        self.reader = client(db, *self.embedders)
        self.said: dict[int, str] = {}
        self.words = 0
        self.switches = 0

    def worker(self) -> Memory:
        made: Any = self.mortal
        return client(made, *self.embedders)

    def text(self) -> str:
        self.words += 1
        return f"memory m{self.words} of t{self.rng.randrange(4)} says w{self.rng.randrange(9)}"

    async def record(self) -> None:
        text = self.text()
        self.said[(await self.reader.record("note", text)).id] = text

    async def record_late(self) -> None:
        """A process that has not noticed a switch yet records with the model before it."""
        status = await self.reader.models.status()
        if status.phase != "moving" or status.other is None:
            return
        embedder = next(e for e in self.embedders if e.model == status.other)
        text = self.text()
        vector = [float(x) for x in (await embedder.embed([text]))[0]]
        made = await self.reader.record(
            "note", text, embedding=vector, embedding_model=embedder.model
        )
        self.said[made.id] = text

    async def rewrite(self) -> None:
        if self.said:
            row = self.rng.choice(list(self.said))
            self.said[row] = self.text()
            await self.reader.update(row, summary=self.said[row])

    async def delete(self) -> None:
        if len(self.said) > 3:
            row = self.rng.choice(list(self.said))
            del self.said[row]
            await self.reader.delete(row)

    async def operate(self) -> None:
        models = self.worker().models
        phase = (await self.reader.models.status()).phase
        force = self.rng.random() < 0.4
        steps: dict[str, Any] = {
            "begin": models.begin,
            "pause": models.pause,
            "resume": models.resume,
            "finish": models.finish,
            "cancel": lambda: models.cancel(force=force),
            "switch": lambda: models.switch(force=force, samples=5),
        }
        fitting = {
            "none": ["begin"],
            "filling": ["switch", "switch", "pause"],
            "paused": ["resume", "switch"],
            "ready": ["switch"],
            "switched": ["cancel", "finish"],
        }
        name = self.rng.choice(list(steps))
        if self.rng.random() < 0.7:
            name = self.rng.choice(fitting.get(phase, [name]))
        if self.rng.random() < 0.5:
            self.mortal.left, self.mortal.after = self.rng.randrange(1, 30), force
        try:
            await steps[name]()
            self.switches += name == "switch"
        except (Killed, AegisError):
            pass
        finally:
            self.mortal.left = None

    async def work(self) -> None:
        self.mortal.left = self.rng.choice([None, *range(1, 12)])
        self.mortal.after = self.rng.random() < 0.5
        try:
            await self.worker().models.work(limit=self.rng.choice([1, 2, 5, 100]))
        except Killed:
            pass
        finally:
            self.mortal.left = None

    async def find_all(self) -> None:
        async with self.db.transaction() as conn:
            cursor = await conn.execute(MISSING)
            assert await cursor.fetchone() == (0,)
        for row, text in self.said.items():
            hits = await self.reader.recall(text, mode="vector", k=3)
            assert row in [hit.episode.id for hit in hits], (row, text)
        some = self.rng.sample(list(self.said), min(3, len(self.said)))
        for row in some:
            hits = await self.reader.recall(self.said[row], k=3)
            assert row in [hit.episode.id for hit in hits]


@pytest.mark.parametrize("seed", range(6))
async def test_every_memory_is_found_at_every_step_of_a_change(
    db: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        # As large namespaces are searched, whose vectors are looked for in one place.
        monkeypatch.setattr(arms, "_approximate", by_the_graph)
    walk = Walk(db, seed)
    for _ in range(6):
        await walk.record()
    moves = [walk.record, walk.record_late, walk.rewrite, walk.delete, walk.operate, walk.work]
    for _ in range(STEPS):
        await walk.rng.choices(moves, [2, 2, 1, 1, 5, 4])[0]()
        await walk.find_all()
    assert walk.switches > 0

    # Whatever state the walk ended in, an operator gets out of it, and nothing is left behind.
    models = walk.reader.models
    for _ in range(6):
        await models.work()
        status = await models.status()
        if status.phase == "none":
            break
        await (models.finish() if status.phase == "switched" else models.cancel(force=True))
        await walk.find_all()
    assert (await models.status()).phase == "none"
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT (SELECT count(*) FROM episodic_vectors),
                   (SELECT count(DISTINCT embedding_model) FROM episodic_memory)
            """
        )
        assert await cursor.fetchone() == (0, 1)
