"""What similar decisions say about the options at hand. Pure: no database, no clock, no guess.

Counts first: how often an option was chosen and how that ended. The success rate is the share of
`success` among the resolved ones; `partial` is counted by itself and is no success.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.models import Decision, Feedback, Outcome

__all__ = [
    "Advice",
    "Candidate",
    "Interval",
    "Lesson",
    "OptionRecord",
    "Precedent",
    "WeightedRate",
    "option_key",
    "weigh",
    "wilson",
]

#: The normal distribution's 97.5 % quantile: intervals of 95 %.
_Z = 1.959963984540054
#: Punctuation that tells names apart: C# is not C, and `a&b` not `ab`.
_TELLING = frozenset("#%&@*")
#: Quotation marks that Unicode does not count as punctuation.
_QUOTES = frozenset("`´")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A decision that recall found, and how alike its question is."""

    decision: Decision
    #: 0 to 1, or below 0 for the opposite: cosine, or the share of words where there is no vector.
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where the true rate lies, with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedRate:
    """The success rate with every decision counted by its similarity."""

    success_rate: float
    #: How many decisions of equal weight would tell as much.
    sample: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What was learned from one decision, or said about it."""

    decision_id: int
    outcome_status: Outcome
    lessons_learned: str | None
    user_feedback: Feedback | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRecord:
    """How one option fared in the similar decisions."""

    #: As asked, or as the most similar decision words it.
    option: str
    #: In how many of them it was an alternative, chosen or not.
    offered: int
    #: `chosen` = `success` + `partial` + `failure` + `pending`.
    chosen: int
    success: int
    partial: int
    failure: int
    pending: int
    #: The sample of `success_rate`: those with an outcome.
    resolved: int
    #: None without a resolved one.
    success_rate: float | None
    interval: Interval | None
    weighted: WeightedRate | None
    #: Of the most similar decision first.
    lessons: list[Lesson]
    decision_ids: list[int]
    #: Of those decisions: the episodes that they belong to, and those that led to them.
    episode_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedent:
    """A similar decision that the advice rests on."""

    decision_id: int
    episode_id: int | None
    similarity: float
    task_context: str
    chosen_option: str
    outcome_status: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What similar decisions say about a question."""

    question: str
    #: In one line what there is to go by; that there is nothing, where there is nothing.
    summary: str
    #: How many decisions were compared with the question.
    considered: int
    #: Those less alike were left out.
    min_similarity: float
    #: The options asked about, in their order; those chosen before, where none was named.
    options: list[OptionRecord]
    #: Options that were chosen in similar decisions, but not asked about.
    others: list[OptionRecord]
    #: Most similar first.
    precedents: list[Precedent]


def wilson(successes: int, trials: int) -> Interval | None:
    """Return Wilson's score interval of a proportion at 95 %, None without a trial.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22 (1927), 209-212. It stays within 0 and 1, and does not
    shrink to a point where all trials went one way, as the normal approximation does.
    """
    if trials <= 0:
        return None
    share, z2 = successes / trials, _Z * _Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials * trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(spread)
    # At the ends the bound is the share itself, but for the last digit.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low=low, high=high)


def option_key(text: str) -> str:
    """Return what an option is compared by: its letters and digits, whatever their case.

    Spaces and punctuation do not count, except between digits, where 1.5 is not 15, before a
    number as its sign, and where they tell names apart (C#, C++).
    """
    folded = unicodedata.normalize("NFKC", text.casefold()).casefold()
    kept: list[str] = []
    gap = ""
    for char in folded:
        if _separates(char):
            gap += " " if char.isspace() else char
            continue
        if gap and char.isdigit() and (sign := _between(kept, gap)):
            kept.append(sign)
        kept.append(char)
        gap = ""
    return "".join(kept) or " ".join(folded.split())


def weigh(
    question: str,
    candidates: Sequence[Candidate],
    *,
    options: Sequence[str] | None,
    min_similarity: float,
) -> Advice:
    """Return what the candidates that are alike enough say about each option."""
    alike = sorted(
        (c for c in candidates if c.similarity >= min_similarity),
        key=lambda c: (-c.similarity, -c.decision.id),
    )
    chosen: dict[str, list[Candidate]] = {}
    for candidate in alike:
        chosen.setdefault(option_key(candidate.decision.chosen_option), []).append(candidate)
    offers = [_offered(c.decision) for c in alike]
    asked: dict[str, str] = {}
    for option in options or ():
        asked.setdefault(option_key(option), option.strip())
    found = sorted(chosen, key=lambda key: -len(chosen[key]))
    records = {
        key: _record(
            asked.get(key) or chosen[key][0].decision.chosen_option,
            chosen.get(key, []),
            offered=sum(key in names for names in offers),
        )
        for key in [*asked, *(k for k in found if k not in asked)]
    }
    return Advice(
        question=question,
        summary=_summary(len(candidates), alike, min_similarity, asked, chosen),
        considered=len(candidates),
        min_similarity=min_similarity,
        options=[records[key] for key in (asked or found)],
        others=[records[key] for key in found if asked and key not in asked],
        precedents=[_precedent(c) for c in alike],
    )


def _separates(char: str) -> bool:
    if char in _TELLING:
        return False
    return char.isspace() or char in _QUOTES or unicodedata.category(char)[0] in "PZC"


def _between(kept: Sequence[str], gap: str) -> str:
    """Return what of a gap before a digit carries meaning: a sign, or what parts two numbers."""
    last = gap[-1]
    signed = unicodedata.category(last) == "Pd"
    if kept and kept[-1].isdigit():
        return gap.strip() or " "
    return "-" if signed and (not kept or len(gap) > 1) else ""


def _offered(decision: Decision) -> set[str]:
    """Return the keys of a decision's alternatives; rows of others may hold any JSON there."""
    names = {decision.chosen_option}
    given: Any = decision.alternatives
    if isinstance(given, list):
        for item in cast("list[Any]", given):
            name: Any = item
            if isinstance(item, Mapping):
                fields = cast("Mapping[str, Any]", item)
                name = fields.get("name", fields.get("option"))
            if isinstance(name, str):
                names.add(name)
    return {option_key(name) for name in names}


def _record(option: str, chosen: Sequence[Candidate], *, offered: int) -> OptionRecord:
    ended = [c.decision.outcome_status for c in chosen]
    success = ended.count("success")
    resolved = len(ended) - ended.count("pending")
    episodes = {
        i
        for c in chosen
        for i in (c.decision.episode_id, *(link.episode_id for link in c.decision.episodes))
        if i is not None
    }
    return OptionRecord(
        option=option,
        offered=offered,
        chosen=len(chosen),
        success=success,
        partial=ended.count("partial"),
        failure=ended.count("failure"),
        pending=len(ended) - resolved,
        resolved=resolved,
        success_rate=success / resolved if resolved else None,
        interval=wilson(success, resolved),
        weighted=_weighted([c for c in chosen if c.decision.outcome_status != "pending"]),
        lessons=[
            Lesson(
                decision_id=c.decision.id,
                outcome_status=c.decision.outcome_status,
                lessons_learned=c.decision.lessons_learned,
                user_feedback=c.decision.user_feedback,
            )
            for c in chosen
            if c.decision.lessons_learned or c.decision.user_feedback
        ],
        decision_ids=[c.decision.id for c in chosen],
        episode_ids=sorted(episodes),
    )


def _weighted(resolved: Sequence[Candidate]) -> WeightedRate | None:
    """Return the rate by similarity.

    Its sample is Kish's effective size, the square of the sum of weights over the sum of their
    squares: L. Kish, Survey Sampling (1965), section 8.2.
    """
    weights = [max(0.0, c.similarity) for c in resolved]
    total = math.fsum(weights)
    # The squares of weights that small are 0.
    squares = math.fsum(w * w for w in weights)
    if squares == 0:
        return None
    good = (c.decision.outcome_status == "success" for c in resolved)
    won = math.fsum(w for w, success in zip(weights, good, strict=True) if success)
    return WeightedRate(success_rate=min(1.0, won / total), sample=total * total / squares)


def _precedent(c: Candidate) -> Precedent:
    return Precedent(
        decision_id=c.decision.id,
        episode_id=c.decision.episode_id,
        similarity=c.similarity,
        task_context=c.decision.task_context,
        chosen_option=c.decision.chosen_option,
        outcome_status=c.decision.outcome_status,
    )


def _summary(
    considered: int,
    alike: Sequence[Candidate],
    least: float,
    asked: Mapping[str, str],
    chosen: Mapping[str, Sequence[Candidate]],
) -> str:
    if not considered:
        return "No decision is recorded that could be compared; there is nothing to go by."
    if not alike:
        looked = (
            f"of the {considered} looked at none is" if considered > 1 else "the only one is not"
        )
        return (
            f"No similar decision is recorded: {looked} at least {least:g} alike; "
            "there is nothing to go by."
        )
    resolved = sum(c.decision.outcome_status != "pending" for c in alike)
    text = "1 similar decision" if len(alike) == 1 else f"{len(alike)} similar decisions"
    if asked and not any(key in chosen for key in asked):
        return f"{text}, but no option asked about was chosen in any of them."
    if not resolved:
        return f"{text}, and no outcome is known yet."
    return f"{text}; the outcome of {resolved} is known."
