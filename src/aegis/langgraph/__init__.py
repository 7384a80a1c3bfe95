"""LangGraph's long-term store on Aegis (extra `langgraph`): `AegisStore`.

Importing it needs the package langgraph-checkpoint, which a `langgraph` brings along.
"""

from importlib.util import find_spec

from aegis.errors import ConfigError

if find_spec("langgraph") is None or find_spec("langgraph.store") is None:
    raise ConfigError(
        "aegis.langgraph needs the package langgraph-checkpoint; "
        "install it with `pip install 'aegis-core[langgraph]'`.",
        code="extra_missing",
    )

from aegis.langgraph.store import AegisStore

__all__ = ["AegisStore"]
