"""Aegis: the database of an autonomous AI agent, on one PostgreSQL with pgvector."""

__version__ = "0.1.0"
__all__ = ["__version__"]
