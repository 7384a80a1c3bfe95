"""How much a memory is still worth keeping: importance, age, use and links. Pure.

    score = 2 ** (-idle / half_life)
    half_life = half_life(importance) * (1 + log2(1 + recalls) + log2(1 + links) / 2)

`idle` is the time since it was recorded or last recalled, whichever is later. A memory that is used
fades more slowly, as in spaced repetition, and each use counts less than the one before; so do
links, half as much. The score is 1 for what was just used, and 0.5 after one half-life without use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aegis.config import Settings

__all__ = [
    "Decay",
    "Traits",
    "decay_of",
    "half_life_days",
    "idle_days",
    "is_forgettable",
    "least_idle_days",
    "retention",
    "why",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """How fast memories fade, and from where on they are forgotten."""

    #: Days by importance; what is not in it never fades (`critical`).
    half_lives: Mapping[str, float]
    #: Below this score a memory is forgotten, above 0 and below 1.
    below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the score of a memory rests on."""

    id: int
    importance: str
    #: When it was recorded.
    recorded_at: datetime
    last_recalled_at: datetime | None
    recalls: int
    #: Related memories, in either direction.
    links: int


def decay_of(settings: Settings) -> Decay:
    """Return what the settings say.

    Raises:
        ConfigError: a half-life is not above 0, or the threshold not between 0 and 1.
    """
    half_lives = {
        "low": settings.forget_half_life_low_days,
        "medium": settings.forget_half_life_medium_days,
        "high": settings.forget_half_life_high_days,
    }
    for importance, days in half_lives.items():
        if not 0 < days < math.inf:
            raise ConfigError(
                f"AEGIS_FORGET_HALF_LIFE_{importance.upper()}_DAYS is {days:g}; it must be above 0."
            )
    if not 0 < settings.forget_below < 1:
        raise ConfigError(
            f"AEGIS_FORGET_BELOW is {settings.forget_below:g}; it must be above 0 and below 1."
        )
    return Decay(half_lives=half_lives, below=settings.forget_below)


def idle_days(traits: Traits, now: datetime) -> float:
    """Return the days since the memory was recorded or used, 0 for what lies ahead."""
    last = max(traits.recorded_at, traits.last_recalled_at or traits.recorded_at)
    return max(0.0, (now - last) / timedelta(days=1))


def half_life_days(traits: Traits, decay: Decay) -> float | None:
    """Return the memory's own half-life; None for what never fades."""
    base = decay.half_lives.get(traits.importance)
    if base is None:
        return None
    return base * (1 + math.log2(1 + traits.recalls) + math.log2(1 + traits.links) / 2)


def retention(traits: Traits, decay: Decay, now: datetime) -> float:
    """Return the score, from 0 to 1."""
    half_life = half_life_days(traits, decay)
    return 1.0 if half_life is None else 2 ** (-idle_days(traits, now) / half_life)


def is_forgettable(traits: Traits, decay: Decay, now: datetime) -> bool:
    """Return whether the memory has faded so far that it is forgotten."""
    return retention(traits, decay, now) < decay.below


def why(traits: Traits, decay: Decay, now: datetime) -> str:
    """Return what the score rests on, in words."""
    half_life = half_life_days(traits, decay)
    if half_life is None:
        return f"{traits.importance}: never forgotten"
    used = f"recalled {traits.recalls} times" if traits.recalls != 1 else "recalled once"
    links = f", {traits.links} links" if traits.links else ""
    return (
        f"{traits.importance}, unused for {idle_days(traits, now):.0f} days, "
        f"{used if traits.recalls else 'never recalled'}{links}; half-life {half_life:.0f} days"
    )


def least_idle_days(decay: Decay) -> dict[str, float]:
    """Return, by importance, the days without use from which on a memory can be forgotten at all.

    Use and links only lengthen a half-life, so nothing younger has to be looked at.
    """
    return {
        importance: -math.log2(decay.below) * days for importance, days in decay.half_lives.items()
    }
