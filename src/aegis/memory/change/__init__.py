"""Changing the embedding model without downtime: `memory.models`.

Owns `embedding_models`, `episodic_vectors` and `semantic_vectors`. Invariant: at every moment each
memory that had a vector has one in the space that recall asks. Why it is done this way:
docs/decisions/0007-change-of-model.md.
"""

from aegis.memory.change.figures import (
    PHASES,
    ChangePlan,
    ChangeStatus,
    ListedModel,
    Phase,
    RecallCheck,
    SpaceRecall,
)
from aegis.memory.change.service import Models

__all__ = [
    "PHASES",
    "ChangePlan",
    "ChangeStatus",
    "ListedModel",
    "Models",
    "Phase",
    "RecallCheck",
    "SpaceRecall",
]
