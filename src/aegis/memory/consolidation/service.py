"""Consolidation of one client's memory: `memory.consolidation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.consolidation.proposal import STATES
from aegis.memory.store import proposals as store

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory.consolidation.proposal import Proposal, State
    from aegis.memory.consolidation.run import Consolidated
    from aegis.memory.embedding import Embedder
    from aegis.memory.llm import LanguageModel

__all__ = ["Consolidation"]

MAX_PAGE = 1_000


class Consolidation:
    """What episodes have in common; `namespace` is what a call that names none means."""

    def __init__(self, db: Database, embedder: Embedder | None, *, namespace: str) -> None:
        self._db = db
        self._embedder = embedder
        self.namespace = namespace

    async def run(
        self,
        *,
        dry_run: bool = False,
        since: datetime | None = None,
        namespace: str | None = None,
        model: LanguageModel | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> Consolidated:
        """Propose what the episodes say that came since the last run; nothing is hidden or changed.

        `since` looks at all from that time on; `dry_run` writes nothing. `model` words what is
        found, the one that the settings name otherwise; without one a sentence of a source does.
        `on_progress` is told how many episodes have been looked at.

        Raises:
            Conflict: another run over the namespace is under way.
            ConfigError: the settings name a language model that cannot be asked.
        """
        from aegis.memory.consolidation.run import run
        from aegis.memory.llm import open_language_model

        if since is not None:
            validate.check_time("since", since)
        own = open_language_model(self._db.settings) if model is None else None
        try:
            return await run(
                self._db,
                self._embedder,
                model or own,
                namespace=validate.namespace_of(namespace, self.namespace),
                since=since,
                dry_run=dry_run,
                accept_from=self._db.settings.consolidate_accept_from,
                on_progress=on_progress,
            )
        finally:
            if own is not None:
                await own.aclose()

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have episodes no run has looked at."""
        from aegis.memory.store import consolidation_marks as marks

        async with self._db.transaction() as conn:
            return await marks.list_namespaces(conn)

    async def proposals(
        self,
        *,
        state: State | None = "proposed",
        limit: int = 50,
        after: int = 0,
        namespace: str | None = None,
    ) -> list[Proposal]:
        """Return proposals by id, those of one state, or of any for None; `after` is an id."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if state is not None:
            validate.check_choice("state", state, STATES)
        if type(after) is not int or not 0 <= after < 2**63:
            raise InvalidInput(f"after is {after!r}; it must be the id of a proposal, or 0.")
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.list_proposals(
                conn, namespace=place, state=state, limit=limit, after=after
            )

    async def get(self, proposal_id: int, *, namespace: str | None = None) -> Proposal:
        """Return one proposal (`NotFound`)."""
        place = self._checked(proposal_id, namespace, None)
        async with self._db.transaction() as conn:
            return await store.get_proposal(conn, proposal_id, namespace=place)

    async def accept(
        self, proposal_id: int, *, namespace: str | None = None, actor: str | None = None
    ) -> Proposal:
        """Make a fact of a proposal and return the proposal, whatever it was refused before.

        Raises:
            NotFound: the namespace has none of this id.
            Conflict: it is accepted already.
        """
        from aegis.memory.consolidation.acceptance import accept

        place = self._checked(proposal_id, namespace, actor)
        return await accept(self._db, self._embedder, proposal_id, namespace=place, actor=actor)

    async def reject(
        self, proposal_id: int, *, namespace: str | None = None, actor: str | None = None
    ) -> Proposal:
        """Refuse a proposal and return it; it comes back only with twice the evidence.

        Raises:
            NotFound: the namespace has none of this id.
            Conflict: it is decided already.
        """
        from aegis.memory.consolidation.acceptance import reject

        place = self._checked(proposal_id, namespace, actor)
        return await reject(self._db, proposal_id, namespace=place, actor=actor)

    async def undo(
        self, proposal_id: int, *, namespace: str | None = None, actor: str | None = None
    ) -> Proposal:
        """Take back exactly what accepting a proposal did to facts and return the proposal.

        Raises:
            NotFound: the namespace has none of this id.
            Conflict: it is not accepted, or its facts were changed since.
        """
        from aegis.memory.consolidation.acceptance import undo

        place = self._checked(proposal_id, namespace, actor)
        return await undo(self._db, proposal_id, namespace=place, actor=actor)

    def _checked(self, proposal_id: Any, namespace: str | None, actor: Any) -> str:
        validate.check_limit("id", proposal_id, most=2**63 - 1)
        if actor is not None:
            validate.check_text("actor", actor, most=validate.MAX_KEY)
        return validate.namespace_of(namespace, self.namespace)
