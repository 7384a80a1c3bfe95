"""Memory: episodes, facts and decisions with their outcomes, and recall over them.

Owns `episodic_memory`, `semantic_memory` with `fact_history` and `fact_sources`, and
`decision_outcomes` with `decision_episodes`; its subpackages own what their names say (`graph`,
`items`, `retention`, `consolidation`, `audit`). Invariant: what was recorded is stored and can be
recalled at once, with or without a vector; namespaces never meet.
"""

from aegis.memory.models import (
    ContextBlock,
    Decision,
    DecisionEpisode,
    Episode,
    EpisodeFilter,
    Fact,
    FactSource,
    FactStep,
    Hit,
    Hits,
    NewDecision,
    NewEpisode,
    NewFact,
    ScorePart,
)
from aegis.memory.service import Memory

__all__ = [
    "ContextBlock",
    "Decision",
    "DecisionEpisode",
    "Episode",
    "EpisodeFilter",
    "Fact",
    "FactSource",
    "FactStep",
    "Hit",
    "Hits",
    "Memory",
    "NewDecision",
    "NewEpisode",
    "NewFact",
    "ScorePart",
]
