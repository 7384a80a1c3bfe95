"""Drafts out of episodes and the pairs of them that are alike. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.memory import junk
from aegis.memory.consolidation import groups, wording
from aegis.memory.consolidation.likeness import like
from aegis.memory.consolidation.proposal import Draft, score_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.memory.consolidation.groups import Group, Pair
    from aegis.memory.consolidation.proposal import Proposal
    from aegis.memory.consolidation.wording import Remark

__all__ = [
    "LEAST_MENTIONS",
    "MOST_MENTIONS",
    "completed",
    "fact_drafts",
    "group_remarks",
    "mentioned",
    "pattern_draft",
    "remedy_draft",
    "worth_reading",
]

#: Events of an object that are read.
MOST_MENTIONS = 60
#: Episodes that make a fact, a preference, a pattern, and failures that make a remedy.
_LEAST_FACT, _LEAST_PREFERENCE, LEAST_MENTIONS, _LEAST_FAILURES = 3, 2, 4, 2
#: By the clock, and so often: a machine that reports, not something that happens.
_MACHINE = 8


def worth_reading(remark: Remark, *, bare: bool) -> bool:
    """Return whether an episode may be evidence of anything: no heartbeat, no junk."""
    return not (
        junk.is_beat(remark.event_type, remark.summary) or junk.noise(remark.summary, bare=bare)
    )


def group_remarks(pairs: Iterable[Pair], remarks: Mapping[int, Remark]) -> Sequence[Group]:
    """Return the groups of remarks that say the same."""

    def alike(one: int, other: int) -> bool:
        return like(remarks[one].words, remarks[other].words, None) > 0

    return groups.group(pairs, alike=alike)


def fact_drafts(found: Sequence[Group], remarks: Mapping[int, Remark]) -> list[Draft]:
    """Return what the groups say: facts, and preferences that were stated more than once."""
    drafts: list[Draft] = []
    for group in found:
        members = [remarks[i] for i in group.members]
        preferences = sum(1 for m in members if wording.is_preference(m))
        kind = "preference" if 2 * preferences > len(members) else "fact"
        if len(members) < (_LEAST_PREFERENCE if kind == "preference" else _LEAST_FACT):
            continue
        if len(members) >= _MACHINE and junk.regular([m.at.timestamp() for m in members]):
            continue
        sentence = wording.central_sentence(remarks[group.centre], members)
        concept = wording.concept_of(sentence, members, fallback=members[0].event_type)
        drafts.append(_draft(kind, concept, sentence, members, group.cohesion))
    return drafts


def mentioned(remarks: Iterable[Remark]) -> list[tuple[str, str]]:
    """Return the (event type, object) that these episodes name, the most frequent first."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for remark in remarks:
        for name in wording.objects_of(remark):
            counts[remark.event_type, name] += 1
    return sorted(counts, key=lambda pair: (-counts[pair], pair))


def pattern_draft(
    event_type: str, name: str, members: Sequence[Remark], told: Sequence[Draft]
) -> Draft | None:
    """Return that a kind of event keeps happening to an object; None where it does not.

    `told` are drafts that may say as much already.
    """
    members = [m for m in members if name in wording.objects_of(m)]
    if len(members) < LEAST_MENTIONS or wording.days(m.at for m in members) < 2:
        return None
    if junk.regular([m.at.timestamp() for m in members]) and len(members) >= _MACHINE:
        return None
    ids = {m.id for m in members}
    if any(len(ids & set(draft.sources)) >= 0.7 * len(ids) for draft in told):
        return None
    last = max(members, key=lambda m: (m.at, m.id))
    sentence = wording.central_sentence(last, members)
    said = f"{event_type} about {name}; the last one: {sentence}"
    return _draft("pattern", f"{event_type} {name}"[:200], said, members, 0.5)


def remedy_draft(
    failures: Sequence[Remark],
    followers: Mapping[int, Sequence[Remark]],
    pairs: Sequence[Pair],
) -> Draft | None:
    """Return what like failures were followed by more than once; None for nothing.

    `followers` are what came after each, in order; `pairs` those of them that are alike.
    """
    fixes: dict[int, tuple[int, Remark]] = {}
    for failure in failures:
        fix = next((f for f in followers.get(failure.id, ()) if wording.is_fix(f)), None)
        if fix is not None:
            fixes.setdefault(fix.id, (failure.id, fix))
    known = {i: fix for i, (_, fix) in fixes.items()}
    inside = [p for p in pairs if p.one in known and p.other in known]
    best: Group | None = None
    for found in group_remarks(inside, known):
        if best is None or len(found.members) > len(best.members):
            best = found
    if best is None or len({fixes[i][0] for i in best.members}) < _LEAST_FAILURES:
        return None
    by_id = {f.id: f for f in failures}
    followed = [by_id[fixes[i][0]] for i in best.members]
    failed = wording.central_sentence(followed[0], failures)
    fixed = wording.central_sentence(known[best.centre], [known[i] for i in best.members])
    said = f"After: {failed} This helped {len(followed)} of {len(failures)} times: {fixed}"
    members = [*followed, *(known[i] for i in best.members)]
    concept = wording.concept_of(failed, failures, fallback=failures[0].event_type)
    return _draft("remedy", concept, said, members, len(followed) / len(failures))


def completed(draft: Draft, sources: Sequence[int], known: Sequence[Proposal]) -> tuple[Draft, int]:
    """Return a draft with all its evidence in its words, and how many say so."""
    before = [p for p in known if p.kind == draft.kind and set(p.sources) & set(sources)]
    first = min([draft.first_at, *(p.first_at for p in before)])
    last = max([draft.last_at, *(p.last_at for p in before)])
    # Of very many only the newest ids are kept; the count goes on.
    new = len(set(sources).difference(*(p.sources for p in before)))
    seen = max([len(sources), *(p.seen + new for p in before if p.state == "proposed")])
    counted = (
        f"{draft.content} ({seen} episodes {wording.span(first, last)})"
        if draft.kind == "remedy"
        else wording.with_count(
            # Of what an object's events were asked for, there may be more than were read.
            draft.content,
            seen,
            first,
            last,
            least=draft.kind == "pattern" and seen >= MOST_MENTIONS,
        )
    )
    # A fact that is renewed keeps its concept, so that the new one takes the old one's place.
    concept = next((p.concept for p in before), draft.concept)
    done = replace(
        draft,
        concept=concept,
        content=counted,
        sources=tuple(sorted(sources)),
        first_at=first,
        last_at=last,
    )
    return done, seen


def _draft(kind: str, concept: str, said: str, members: Sequence[Remark], cohesion: float) -> Draft:
    times = [m.at for m in members]
    return Draft(
        kind=kind,  # pyright: ignore[reportArgumentType]
        concept=concept,
        content=said,
        sources=tuple(sorted({m.id for m in members})),
        first_at=min(times),
        last_at=max(times),
        score=score_of(len(members), cohesion, wording.days(times)),
    )
