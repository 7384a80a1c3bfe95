"""graphiti-core as it is needed here: a graph, its clients, and an episode put into it.

Surprises: `Graphiti.add_episode` takes a uuid only of a node that is there already, so the node is
saved first. A repeat removes what the episode made before, otherwise its mentions would be there
twice. Its telemetry is on by default; it is turned off before the import. Vectors come from our own
embedder, so that Graphiti needs no other endpoint than the language model's.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from aegis.config import silence_graphiti
from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.memory.embedding import Embedder
    from aegis.memory.graphiti.models import Pending

__all__ = [
    "GraphitiClient",
    "episode_uuid",
    "failures",
    "group_of",
    "is_away",
    "open_graphiti",
    "refusal",
]

#: Ours, made once; an episode's uuid never changes.
_SPACE = uuid.UUID("5f0c1c38-6f0e-5d0b-9c1a-2f7d4b8e9a10")
_MAX_TEXT = 50_000
_EXTRA = "Install it: pip install 'aegis-core[graphiti]'."


def episode_uuid(namespace: str, episode_id: int) -> str:
    """Return the uuid under which Graphiti has an episode."""
    return str(uuid.uuid5(_SPACE, f"{namespace}/{episode_id}"))


def group_of(namespace: str) -> str:
    """Return the Graphiti group of a namespace: itself, or a readable part with a hash."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", namespace):
        return namespace
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", namespace)[:40].strip("-")
    return f"{readable or 'n'}-{hashlib.sha256(namespace.encode()).hexdigest()[:12]}"


async def open_graphiti(
    settings: Settings, embedder: Embedder | None, *, namespace: str
) -> GraphitiClient:
    """Return a client of the graph that the settings name; it is prepared if it is new.

    Raises:
        ConfigError: a setting or a package is missing.
        Unavailable: the graph does not answer.
    """
    if settings.graphiti_url is None:
        raise ConfigError(
            "AEGIS_GRAPHITI_URL is not set; name the graph, such as kuzu:/path/to/file or "
            "bolt://user:password@host:7687.",
            code="graphiti_url",
        )
    if settings.llm_url is None or not settings.llm_model:
        raise ConfigError(
            "Graphiti reads episodes with a language model; set AEGIS_LLM_URL and AEGIS_LLM_MODEL.",
            code="graphiti_llm",
        )
    if embedder is None:
        raise ConfigError(
            "AEGIS_EMBEDDER is 'none'; Graphiti needs vectors, choose an embedder.",
            code="graphiti_embedder",
        )
    silence_graphiti()
    # What it logs ends as our one line.
    logging.getLogger("graphiti_core").setLevel(logging.CRITICAL)
    _load("graphiti_core", _EXTRA)
    group = group_of(namespace)
    driver = _driver(settings.graphiti_url, group)
    client = GraphitiClient(settings, embedder, driver, namespace=namespace, group=group)
    await client.prepare()
    return client


class GraphitiClient:
    """One group of a Graphiti graph."""

    def __init__(
        self, settings: Settings, embedder: Embedder, driver: Any, *, namespace: str, group: str
    ) -> None:
        from graphiti_core import Graphiti
        from graphiti_core.llm_client.config import LLMConfig
        from openai import AsyncOpenAI

        self.namespace = namespace
        self.group = group
        self.driver = driver
        key = settings.llm_api_key or "none"
        self._openai = AsyncOpenAI(
            api_key=key, base_url=settings.llm_url, timeout=settings.llm_timeout_s
        )
        config = LLMConfig(
            api_key=key, model=settings.llm_model, base_url=settings.llm_url, temperature=0
        )
        self._graphiti = Graphiti(
            graph_driver=driver,
            llm_client=_model_client(config, self._openai),
            embedder=_embedder_client(embedder),
            cross_encoder=_no_reranking(),
            max_coroutines=4,
        )

    async def prepare(self) -> None:
        """Make the indexes that are missing (`Unavailable`)."""
        try:
            if _is_kuzu(self.driver):
                await self._prepare_kuzu()
            else:
                await self._graphiti.build_indices_and_constraints()
        except failures() as error:
            raise Unavailable(
                f"The graph of AEGIS_GRAPHITI_URL does not answer ({type(error).__name__}); "
                "check the address, or try again later.",
                code="graphiti_unavailable",
            ) from error

    async def push(self, episode: Pending) -> None:
        """Put an episode into the graph as it is now, in place of what it was (`failures()`)."""
        from graphiti_core.nodes import EpisodeType, EpisodicNode

        name = episode_uuid(self.namespace, episode.id)
        await self.remove(name)
        node = EpisodicNode(
            uuid=name,
            name=f"{episode.event_type} {episode.id}",
            group_id=self.group,
            labels=[],
            source=EpisodeType.text,
            content=episode.summary[:_MAX_TEXT],
            source_description=f"Aegis episode {episode.id} ({episode.event_type})",
            created_at=episode.at,
            valid_at=episode.at,
        )
        await node.save(self.driver)
        await self._graphiti.add_episode(
            name=node.name,
            episode_body=node.content,
            source_description=node.source_description,
            reference_time=episode.at,
            source=EpisodeType.text,
            group_id=self.group,
            uuid=name,
        )

    async def remove(self, uuid: str) -> bool:
        """Take an episode and what it alone made out of the graph; False where it is not there."""
        from graphiti_core.errors import NodeNotFoundError

        try:
            await self._graphiti.remove_episode(uuid)
        except NodeNotFoundError:
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._openai.close()
        await self.driver.close()
        if _is_kuzu(self.driver):
            # Left to the collector, the file would stay open; opened twice, Kuzu crashes.
            self.driver.client.close()
            self.driver.db.close()

    async def _prepare_kuzu(self) -> None:
        """Make the full-text indexes, which graphiti-core looks in and does not make."""
        from graphiti_core.driver.driver import GraphProvider
        from graphiti_core.graph_queries import get_fulltext_indices

        rows, _, _ = await self.driver.execute_query("CALL SHOW_INDEXES() RETURN *")
        known = {row.get("index_name") or row.get("index name") for row in rows}
        for statement in get_fulltext_indices(GraphProvider.KUZU):
            # CALL CREATE_FTS_INDEX('Entity', 'node_name_and_summary', [...]);
            if statement.split("'")[3] not in known:
                await self.driver.execute_query(statement)


def failures() -> tuple[type[BaseException], ...]:
    """Return what graphiti-core and what is beneath it raise."""
    import openai
    from graphiti_core.errors import GraphitiError
    from graphiti_core.llm_client.errors import EmptyResponseError, RateLimitError, RefusalError
    from neo4j.exceptions import DriverError, Neo4jError

    return (
        openai.OpenAIError,
        GraphitiError,
        EmptyResponseError,
        RateLimitError,
        RefusalError,
        DriverError,
        Neo4jError,
        # An answer of another shape than it wants; Kuzu's own error; a file that cannot be read.
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        OSError,
    )


def is_away(error: BaseException) -> bool:
    """Return whether an error says that a server does not answer now, whichever the episode."""
    import openai
    from graphiti_core.llm_client.errors import RateLimitError
    from neo4j.exceptions import ServiceUnavailable, SessionExpired, TransientError

    return isinstance(
        error,
        openai.APIConnectionError
        | openai.RateLimitError
        | openai.InternalServerError
        | RateLimitError
        | ServiceUnavailable
        | SessionExpired
        | TransientError
        | ConnectionError
        | Unavailable,
    )


def refusal(error: BaseException) -> ConfigError | None:
    """Return what to correct where the language model refuses the key or the model."""
    import openai

    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return ConfigError(
            "The language model refuses the key; check AEGIS_LLM_API_KEY.", code="llm_key"
        )
    if isinstance(error, openai.NotFoundError):
        return ConfigError(
            "The language model is not under this URL; check AEGIS_LLM_URL and AEGIS_LLM_MODEL.",
            code="llm_model",
        )
    return None


def _driver(url: str, group: str) -> Any:
    scheme = url.partition(":")[0]
    if scheme == "kuzu":
        return _kuzu_driver(url, group)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if host and scheme in ("bolt", "neo4j", "bolt+s", "neo4j+s", "bolt+ssc", "neo4j+ssc"):
        from graphiti_core.driver.neo4j_driver import Neo4jDriver

        address = f"{scheme}://{host}" + (f":{port}" if port else "")
        return Neo4jDriver(address, user, password)
    if host and scheme in ("falkor", "redis"):
        module = _load(
            "graphiti_core.driver.falkordb_driver",
            "Install it: pip install 'graphiti-core[falkordb]'.",
        )
        return module.FalkorDriver(
            host=host,
            port=port or 6379,
            username=user or None,
            password=password or None,
            database=group,
        )
    raise ConfigError(
        "AEGIS_GRAPHITI_URL is no graph's address; use bolt://user:password@host:7687, "
        "falkor://host:6379 or kuzu:/path/to/file.",
        code="graphiti_url",
    )


def _kuzu_driver(url: str, group: str) -> Any:
    _load("kuzu", "Install it: pip install kuzu.")
    place = unquote(url.removeprefix("kuzu:"))
    path = Path(re.sub("^//+", "/", place)).expanduser()
    if not place or not path.is_absolute():
        raise ConfigError(
            "AEGIS_GRAPHITI_URL names no file; write kuzu:/path/to/file.", code="graphiti_url"
        )
    from graphiti_core.driver.kuzu_driver import KuzuDriver

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # That Kuzu is at its end is said in our documentation.
            warnings.simplefilter("ignore", DeprecationWarning)
            driver: Any = KuzuDriver(str(path))
    except (OSError, RuntimeError) as error:
        line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Unavailable(
            f"The Kuzu file {path} cannot be opened ({line}); another program may hold it.",
            code="graphiti_unavailable",
        ) from None
    # Groups share a file; the attribute that says so is missing in this driver.
    driver._database = group
    return driver


def _is_kuzu(driver: Any) -> bool:
    return type(driver).__name__ == "KuzuDriver"


def _load(name: str, how: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} cannot be imported ({error.name or error} is missing). {how}",
            code="extra_missing",
        ) from None


def _model_client(config: Any, client: Any) -> Any:
    """Return Graphiti's client of a language model, without its pauses of minutes.

    The library beneath repeats what a server refuses for a moment, and whoever pushes repeats the
    rest; a third loop around every question would hold up a run for a quarter of an hour.
    """
    from graphiti_core.llm_client.openai_generic_client import OpenAIGenericClient

    class Model(OpenAIGenericClient):
        async def _generate_response_with_retry(  # pyright: ignore[reportIncompatibleVariableOverride]
            self, *args: Any, **more: Any
        ) -> dict[str, Any]:
            return await self._generate_response(*args, **more)

    return Model(config, client=client)


def _embedder_client(embedder: Embedder) -> Any:
    """Return our embedder as Graphiti calls one."""
    from graphiti_core.embedder.client import EmbedderClient

    class Vectors(EmbedderClient):
        async def create(self, input_data: Any) -> list[float]:
            texts: Sequence[str] = [input_data] if isinstance(input_data, str) else list(input_data)
            return (await self.create_batch([str(text) for text in texts[:1]]))[0]

        async def create_batch(self, input_data_list: list[str]) -> list[list[float]]:
            return [row.tolist() for row in await embedder.embed(input_data_list)]

    return Vectors()


def _no_reranking() -> Any:
    """Return a reranker that leaves the order: adding an episode never asks one."""
    from graphiti_core.cross_encoder.client import CrossEncoderClient

    class AsTheyCame(CrossEncoderClient):
        async def rank(self, query: str, passages: list[str]) -> list[tuple[str, float]]:
            del query
            return [(passage, 1.0 / (at + 1)) for at, passage in enumerate(passages)]

    return AsTheyCame()
