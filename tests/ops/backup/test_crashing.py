"""`kill -9` at random points: nothing half is listed, no lock stays, the next run succeeds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from benchmarks.crashes import ACTIONS, Matrix

if TYPE_CHECKING:
    from pathlib import Path

#: Of 21 runs: those that are over soonest are killed most often.
PLAN = {"create": 7, "push": 4, "verify": 3, "restore": 4, "upgrade": 3}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("action", list(ACTIONS))
def test_whatever_is_killed_the_next_run_succeeds_and_nothing_is_lost(
    full_dsn: str, place: Path, dropped: None, action: str
) -> None:
    matrix = Matrix(dsn=full_dsn, folder=place, rng=random.Random(action))
    for _ in range(PLAN[action]):
        matrix.one(action)
    # The fault has to take effect: some are over before they are killed.
    for _ in range(20):
        if matrix.killed.get(action):
            break
        matrix.one(action)
    assert matrix.broken == []
    assert matrix.killed.get(action, 0) > 0
