"""Memory: episodes, facts and decisions with their outcomes, and recall over them.

Owns `episodic_memory`, `semantic_memory`, `decision_outcomes` and `decision_episodes`. Invariant:
what was recorded is stored and can be recalled at once, with or without a vector; namespaces never
meet.
"""

from aegis.memory.models import (
    Decision,
    DecisionEpisode,
    Episode,
    EpisodeFilter,
    Fact,
    Hit,
    NewDecision,
    NewEpisode,
    NewFact,
    ScorePart,
)
from aegis.memory.service import Memory

__all__ = [
    "Decision",
    "DecisionEpisode",
    "Episode",
    "EpisodeFilter",
    "Fact",
    "Hit",
    "Memory",
    "NewDecision",
    "NewEpisode",
    "NewFact",
    "ScorePart",
]
