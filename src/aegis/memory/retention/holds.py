"""What nothing but its deletion takes away (`memory_holds`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An episode that neither decay nor a time to live takes away."""

    episode_id: int
    reason: str
    held_at: datetime
