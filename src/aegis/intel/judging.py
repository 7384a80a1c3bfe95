"""Whether a fetch is a change: a pure state machine over the baseline and what came after it.

Invariant: `changed` is said only where the newest fetches agree, or where all that they disagree in
was learned to be noise. The first fetch that differs only waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from aegis.intel.noise import (
    Rules,
    alike,
    learn_flaps,
    learn_masks,
    learn_moves,
    only_ordered,
    rested,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.intel.models import Reading

__all__ = ["AGREEING", "MOST_FETCHES", "ORDER_AGREEING", "Judgement", "judge", "learn"]

#: So many fetches in a row may differ from one another; then what differs is noise.
MOST_FETCHES = 6
#: So many fetches in a row must agree. Two would do for a change; an experiment that is shown to
#: half of the visitors agrees with itself every other time.
AGREEING = 3
#: The same of lines that only stand in another order: two orders that are shown by turns agree with
#: themselves for a while, and nobody waits for this news.
ORDER_AGREEING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the newest fetch is, and what was learned."""

    #: `unchanged`, `noise` (it differs in what changes by itself), `pending` (fetch it again),
    #: `changed`, or `unstable` (each fetch is another page: nothing was learned).
    kind: Literal["unchanged", "noise", "pending", "changed", "unstable"]
    rules: Rules


def judge(
    baseline: Reading, pending: Sequence[Reading], newest: Reading, rules: Rules
) -> Judgement:
    """Judge the newest fetch; `pending` are those before it that differed, oldest first."""
    if alike(baseline, newest, rules):
        return _back(baseline, pending, newest, rules)
    if not pending:
        return Judgement(kind="pending", rules=rules)
    before = pending[-1]
    if not alike(before, newest, rules):
        rules = learn_masks(before, newest, learn_moves(before, newest, rules))
        if alike(baseline, newest, rules):
            return Judgement(kind="noise", rules=rules)
    if alike(before, newest, rules):
        agreeing = 1 + _agreeing(pending, newest, rules)
        wanted = AGREEING + bool(rules.flaps)
        if only_ordered(baseline, newest, rules):
            wanted = max(wanted, ORDER_AGREEING)
        enough = agreeing >= wanted
        return Judgement(kind="changed" if enough else "pending", rules=rules)
    if len(pending) + 1 < MOST_FETCHES:
        return Judgement(kind="pending", rules=rules)
    return _sort_out(baseline, pending, newest, rules)


def learn(baseline: Reading, newest: Reading, rules: Rules) -> Rules:
    """Return rules after a fetch that was made to learn from, soon after the baseline's."""
    rules = replace(rules, learning=max(0, rules.learning - 1))
    if alike(baseline, newest, rules):
        return rules
    rules = learn_masks(baseline, newest, learn_moves(baseline, newest, rules))
    return learn_flaps([baseline, newest], rules) or rules


def _sort_out(
    baseline: Reading, pending: Sequence[Reading], newest: Reading, rules: Rules
) -> Judgement:
    """Tell a change from what comes and goes beside it, after many fetches that differ.

    What came or went once is the change, if it held since; what did so twice and more is noise.
    """
    fetches = [baseline, *pending, newest]
    learned = learn_flaps(fetches, rules, turns=2)
    if learned is not None:
        if alike(baseline, newest, learned):
            return Judgement(kind="noise", rules=learned)
        if alike(pending[-1], newest, learned):
            return Judgement(kind="changed", rules=learned)
    if len(pending) + 1 < 2 * MOST_FETCHES:
        return Judgement(kind="pending", rules=learned or rules)
    learned = learn_flaps(fetches[1:], rules)
    if learned is None:
        return Judgement(kind="unstable", rules=rules)
    same = alike(baseline, newest, learned)
    return Judgement(kind="noise" if same else "changed", rules=learned)


def _back(
    baseline: Reading, pending: Sequence[Reading], newest: Reading, rules: Rules
) -> Judgement:
    """What differed is gone again: it comes and goes, or was a fault."""
    if not pending:
        return Judgement(kind="unchanged", rules=rested(rules, newest))
    rules = learn_masks(baseline, pending[-1], learn_moves(baseline, pending[-1], rules))
    learned = learn_flaps([baseline, *pending], rules)
    return Judgement(kind="noise", rules=learned or rules)


def _agreeing(pending: Sequence[Reading], newest: Reading, rules: Rules) -> int:
    count = 0
    for reading in reversed(pending):
        if not alike(reading, newest, rules):
            break
        count += 1
    return count
