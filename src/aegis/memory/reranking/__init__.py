"""Rerankers: what reads a question and a memory together and says how well they fit.

A second stage behind recall, by setting; without one recall needs none. A failed reranker raises
`Unavailable` or `ConfigError` and nothing else, and recall then answers in the order that it had.
Importing this package imports neither an HTTP client nor a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings

__all__ = ["Reranker", "open_reranker"]


class Reranker(Protocol):
    """Scores texts by how well they answer a question."""

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return one finite number per text, in order; higher is better, on any scale.

        Raises:
            Unavailable: it cannot answer now (code `reranker_unavailable`).
            ConfigError: it cannot answer until a setting or the installation is corrected.
        """
        ...

    async def aclose(self) -> None:
        """Release memory and connections; the next `score` takes them up again."""
        ...


def open_reranker(settings: Settings) -> Reranker | None:
    """Return the reranker that the settings name, or None for `none`; nothing is loaded yet.

    Raises:
        ConfigError: what it needs is not set, cannot be sent, or is not installed.
    """
    if settings.reranker == "none":
        return None
    if settings.reranker == "http":
        from aegis.memory.reranking.http import HTTPReranker

        return HTTPReranker(settings)
    from aegis.memory.reranking.cross_encoder import CrossEncoder

    return CrossEncoder(settings)
