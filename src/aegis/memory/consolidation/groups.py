"""Groups of like things out of pairs. Pure; the answer does not depend on the order of the pairs.

Each group is a star: every member is like the centre itself, so that no chain of small steps joins
what is far apart. Two stars become one where a pair joins them and their centres are alike too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Group", "Pair", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two things that are alike."""

    one: int
    other: int
    #: Above 0, up to 1.
    likeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Like things."""

    #: The one that is most like the others; the least id of several.
    centre: int
    #: All of them, the centre too, ascending.
    members: tuple[int, ...]
    #: Mean likeness to the centre, 0 to 1.
    cohesion: float


def group(pairs: Iterable[Pair], *, alike: Callable[[int, int], bool]) -> Sequence[Group]:
    """Return the groups of at least two, by centre; nothing is in two of them.

    `alike` says whether two centres belong together, whose likeness no pair tells.
    """
    links = _links(pairs)
    stars = _stars(links)
    owner = {member: centre for centre, members in stars.items() for member in members}
    joined = _joined(links, stars, owner, alike)
    return [_as_group(members, links) for _, members in sorted(joined.items()) if len(members) > 1]


def _links(pairs: Iterable[Pair]) -> dict[int, dict[int, float]]:
    """Return the likeness of each to each that it is paired with, the greatest of several."""
    links: dict[int, dict[int, float]] = defaultdict(dict)
    for pair in pairs:
        if pair.one == pair.other or pair.likeness <= 0:
            continue
        best = max(pair.likeness, links[pair.one].get(pair.other, 0.0))
        links[pair.one][pair.other] = links[pair.other][pair.one] = best
    return links


def _weight(links: Mapping[int, float]) -> float:
    # Added up in one order, whichever the pairs came in: sums of floats depend on it.
    return sum(sorted(links.values()))


def _stars(links: Mapping[int, Mapping[int, float]]) -> dict[int, set[int]]:
    stars: dict[int, set[int]] = {}
    taken: set[int] = set()
    for centre in sorted(links, key=lambda i: (-_weight(links[i]), i)):
        if centre in taken:
            continue
        members = {centre} | {i for i in links[centre] if i not in taken}
        taken |= members
        stars[centre] = members
    return stars


def _joined(
    links: Mapping[int, Mapping[int, float]],
    stars: Mapping[int, set[int]],
    owner: Mapping[int, int],
    alike: Callable[[int, int], bool],
) -> dict[int, set[int]]:
    """Return the stars by the least of their centres, those joined that belong together."""
    crossing = sorted(
        {
            (min(owner[a], owner[b]), max(owner[a], owner[b]))
            for a, others in links.items()
            for b in others
            if owner[a] != owner[b]
        }
    )
    root = {centre: centre for centre in stars}

    def find(centre: int) -> int:
        while root[centre] != centre:
            root[centre] = root[root[centre]]
            centre = root[centre]
        return centre

    for one, other in crossing:
        if find(one) != find(other) and alike(one, other):
            low, high = sorted((find(one), find(other)))
            root[high] = low
    joined: dict[int, set[int]] = defaultdict(set)
    for centre, members in stars.items():
        joined[find(centre)] |= members
    return joined


def _as_group(members: set[int], links: Mapping[int, Mapping[int, float]]) -> Group:
    inside = {i: {j: s for j, s in links[i].items() if j in members} for i in members}
    centre = min(members, key=lambda i: (-_weight(inside[i]), i))
    near = inside[centre].values()
    return Group(
        centre=centre,
        members=tuple(sorted(members)),
        cohesion=sum(sorted(near)) / len(near) if near else 0.0,
    )
