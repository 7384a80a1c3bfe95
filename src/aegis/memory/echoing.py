"""Marking echoes when they are recorded, in the transaction that records them.

Nothing is refused and no text is changed: an echo is stored with `echo_of` in its metadata. The two
keys are ours; what a caller or an import brings along under them is of another database.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis.memory.echoes import ECHO_ADDS, ECHO_OF, echo_marks, header, normalised, quoted
from aegis.memory.store import echoes as store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.models import Episode, NewEpisode

__all__ = ["mark_echo", "mark_quotations", "may_quote"]


def may_quote(episode: NewEpisode) -> bool:
    """Return whether the text quotes a line of a block, or the metadata has a mark of ours."""
    metadata = episode.metadata or {}
    return ECHO_OF in metadata or ECHO_ADDS in metadata or bool(quoted(episode.summary))


async def mark_echo(conn: Connection, episode: NewEpisode, *, namespace: str) -> NewEpisode:
    """Return the episode, marked if it quotes a block or says what another episode says.

    One with a `source_id` is an event of its source, which may well say the same thing twice.
    """
    (marked,) = await mark_quotations(conn, [episode], namespace=namespace)
    if episode.source_id is not None or ECHO_OF in (marked.metadata or {}):
        return marked
    said = normalised(episode.summary)
    alike = await store.list_alike(conn, namespace, episode.summary)
    same = [row_id for row_id, summary in alike if normalised(summary) == said]
    return _marked(marked, {ECHO_OF: [min(same)]} if same else {})


async def mark_quotations(
    conn: Connection, episodes: Sequence[NewEpisode], *, namespace: str
) -> list[NewEpisode]:
    """Return the episodes, all of one namespace, those marked that quote lines of a block."""
    quotations = [quoted(episode.summary) for episode in episodes]
    ids = sorted({i for found in quotations for i in found})
    known = {e.id: e for e in await store.list_in_namespace(conn, namespace, ids)} if ids else {}
    return [
        _marked(episode, echo_marks(episode.summary, _meant(found, known)))
        for episode, found in zip(episodes, quotations, strict=True)
    ]


def _meant(found: dict[int, str], known: dict[int, Episode]) -> list[Episode]:
    """Return the episodes whose headers these are: an id of another database has another."""
    return [known[i] for i, text in found.items() if i in known and header(known[i]) == text]


def _marked(episode: NewEpisode, marks: dict[str, Any]) -> NewEpisode:
    theirs = episode.metadata
    if theirs is not None and (ECHO_OF in theirs or ECHO_ADDS in theirs):
        theirs = {key: value for key, value in theirs.items() if key not in (ECHO_OF, ECHO_ADDS)}
    if not marks and theirs is episode.metadata:
        return episode
    return replace(episode, metadata={**(theirs or {}), **marks} if marks or theirs else None)
