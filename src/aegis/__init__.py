"""Aegis: the database of an autonomous AI agent, on one PostgreSQL with pgvector."""

from typing import TYPE_CHECKING, Any

from aegis.errors import AegisError

if TYPE_CHECKING:
    from aegis.client import connect

__version__ = "0.1.0"
__all__ = ["AegisError", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a command that needs no database should not pay for one.
    if name == "connect":
        from aegis.client import connect

        return connect
    raise AttributeError(f"module 'aegis' has no attribute {name!r}")
