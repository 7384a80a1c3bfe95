"""Aegis in LangChain (extra `langchain`): a retriever over recall, and tools.

Importing it needs the package langchain-core, which a `langchain` brings along.
"""

from importlib.util import find_spec

from aegis.errors import ConfigError

if find_spec("langchain_core") is None:
    raise ConfigError(
        "aegis.langchain needs the package langchain-core; "
        "install it with `pip install 'aegis-core[langchain]'`.",
        code="extra_missing",
    )

from aegis.langchain.retriever import AegisRetriever
from aegis.langchain.tools import memory_tools

__all__ = ["AegisRetriever", "memory_tools"]
