"""Pages before and after: how many changes are found, and how many are told that are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from aegis.intel import judging
from aegis.intel.differing import changes_between
from aegis.intel.extracting import read
from aegis.intel.models import NewChange, Reading
from aegis.intel.noise import Rules
from tests.intel.corpus import Case, cases
from tests.intel.heldout import HeldOut, held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Of the first corpus every third pair: the benchmark takes all, over HTTP and the database.
EVERY = 3


@dataclass
class Follower:
    """A page as a check follows it, without network and database."""

    case: Case | HeldOut
    baseline: Reading | None = None
    rules: Rules = field(default_factory=lambda: Rules(learning=3))
    pending: list[Reading] = field(default_factory=list)
    told: list[NewChange] = field(default_factory=list)

    def check(self) -> None:
        method = None if self.baseline is None else self.baseline.method
        newest = read(self.case.serve(), page_type=self.case.page_type, method=method)
        if self.baseline is None:
            self.baseline = newest
        elif self.rules.learning:
            self.rules = judging.learn(self.baseline, newest, self.rules)
        else:
            self._judge(self.baseline, newest)

    def _judge(self, baseline: Reading, newest: Reading) -> None:
        verdict = judging.judge(baseline, self.pending, newest, self.rules)
        self.rules = verdict.rules
        if verdict.kind == "pending":
            self.pending.append(newest)
            return
        self.pending.clear()
        if verdict.kind == "changed":
            kind = self.case.page_type
            self.told += changes_between(baseline, newest, self.rules, page_type=kind)
            self.baseline = newest


@pytest.mark.parametrize(("corpus", "every"), [(cases, EVERY), (held_out, 1)])
def test_changes_are_found_and_noise_is_not_told(
    corpus: Callable[[], Iterator[Case | HeldOut]], every: int
) -> None:
    pairs = list(zip(*[iter(corpus())] * 2, strict=True))[::every]
    real = found = typed = false = 0
    trouble: list[str] = []
    for case in (case for pair in pairs for case in pair):
        follower = Follower(case)
        for _ in range(9):
            follower.check()
        early = list(follower.told)
        case.turned = True
        for _ in range(12):
            follower.check()
        late = follower.told[len(early) :]
        if case.change is not None:
            real += 1
            hit = case.expected in {change.change_type for change in late}
            found += bool(late)
            typed += hit
            trouble += [] if hit else [f"missed {case.name}"]
        if early or (late and case.change is None):
            false += 1
            trouble.append(f"false {case.name}: {[c.summary for c in early + late]}")
        assert all(change.diff for change in follower.told)
    assert len(pairs) == real >= 100
    assert found >= 0.98 * real, trouble
    assert typed >= 0.96 * real, trouble
    assert false <= 0.01 * 2 * real, trouble
