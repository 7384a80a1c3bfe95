"""Where two searches, one from each end, meet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["by_depth", "meeting"]


def meeting(forward: Mapping[int, int], backward: Mapping[int, int]) -> int | None:
    """Return the node on a shortest way, given how far each is from either end; None for none.

    Of several, that of the lowest number, so that the same graph gives the same answer.
    """
    both = forward.keys() & backward.keys()
    return min(both, key=lambda node: (forward[node] + backward[node], node), default=None)


def by_depth(depths: Mapping[int, int]) -> dict[int, list[int]]:
    """Return the nodes at each depth."""
    layers: dict[int, list[int]] = {}
    for node, depth in depths.items():
        layers.setdefault(depth, []).append(node)
    return layers
