"""Settings: one frozen value, read once from the environment by whoever starts something.

Every setting is a field of `Settings` and the environment variable `AEGIS_` + its name in upper
case. No module reads the environment itself, and nothing is read at import. Plain dataclasses, not
pydantic: a command has 150 ms for its imports (docs/decisions/0002-settings-without-pydantic.md).
"""

from __future__ import annotations

import os
import sys
import types
import typing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from aegis.config_fields import setting as _setting
from aegis.config_ops import CollectFrom, OpsSettings, PrometheusAccess
from aegis.config_ranges import ENV_PREFIX, check_ranges
from aegis.errors import ConfigError

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ENV_PREFIX",
    "CollectFrom",
    "EmbedderKind",
    "PrometheusAccess",
    "RerankerKind",
    "Settings",
    "WhenDown",
    "claude_config_dir",
    "default_data_dir",
    "load_data_dir",
    "load_secret",
    "load_settings",
    "silence_graphiti",
    "spool_folder",
]

EmbedderKind = Literal["minilm", "openai", "none"]
RerankerKind = Literal["none", "http", "fastembed"]
WhenDown = Literal["closed", "open"]


def default_data_dir() -> Path:
    """Return the platform's user-data folder for Aegis, such as `~/.local/share/aegis`.

    For root it is `/var/lib/aegis`: the server runs without root, and may not enter root's home.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/aegis")
    import platformdirs

    return Path(platformdirs.user_data_dir("aegis", appauthor=False))


def spool_folder(data_dir: Path, database_url: str | None) -> Path:
    """Return where hooks of this machine leave what they are told for a database.

    Each has its own: events never end up in another.
    """
    if database_url is None:
        return data_dir / "spool" / "embedded"
    import hashlib

    return data_dir / "spool" / hashlib.sha256(database_url.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(OpsSettings):
    """All settings, with defaults that work on one box. `load_settings` reads the environment."""

    database_url: str | None = _setting(
        "PostgreSQL to use (`postgresql://…`); without it an embedded one runs in `data_dir`.",
        secret=True,
        default=None,
    )
    data_dir: Path = _setting(
        "Folder of the embedded server's cluster, the operator token, the secret of keys and logs.",
        default_factory=default_data_dir,
    )
    namespace: str = _setting("Namespace of memories when a call names none.", default="default")
    pool_min_size: int = _setting("Connections kept open.", default=2)
    pool_max_size: int = _setting("Connections at most.", default=10)
    pool_max_idle_s: float = _setting("Seconds until an idle connection is closed.", default=300.0)
    pool_timeout_s: float = _setting("Seconds to wait for a free connection.", default=10.0)
    connect_timeout_s: float = _setting("Seconds to wait for the server to answer.", default=5.0)
    statement_timeout_ms: int = _setting(
        "Milliseconds after which a statement is cancelled; 0 for never.", default=30_000
    )
    lock_timeout_ms: int = _setting(
        "Milliseconds after which waiting for a lock is given up; 0 for never.", default=5_000
    )
    hnsw_ef_search: int = _setting(
        "How wide the vectors of a large namespace are searched, 10 to 1000 (`aegis memory tune` "
        "measures it); 0 for the built-in widths.",
        default=0,
    )
    forget_half_life_low_days: float = _setting(
        "Days without use after which a memory of low importance has half its worth.", default=30.0
    )
    forget_half_life_medium_days: float = _setting(
        "The same for one of medium importance.", default=90.0
    )
    forget_half_life_high_days: float = _setting(
        "The same for one of high importance; critical ones are never forgotten.", default=365.0
    )
    forget_below: float = _setting(
        "Worth, 0 to 1, below which `aegis memory forget run` archives a memory.", default=0.05
    )
    forget_expired: Literal["delete", "archive"] = _setting(
        "What becomes of expired memories that no policy speaks of.", default="delete"
    )
    archive_dir: Path | None = _setting(
        "Folder of the archives; `archives` in `data_dir` otherwise.", default=None
    )
    hook_budget_tokens: int = _setting(
        "Tokens of memories that `aegis hook` answers with at most; 0 for none.", default=1_000
    )
    session_idle_minutes: int = _setting(
        "Minutes of silence after which a session that did not end is closed.", default=60
    )
    metrics_keep_days: int = _setting(
        "Days that samples of containers are kept, 1 to 400; their roll-ups stay longer.",
        default=30,
    )
    application_name: str = _setting("Name shown in `pg_stat_activity`.", default="aegis")
    api_host: str = _setting("Address that the HTTP API listens on.", default="127.0.0.1")
    api_port: int = _setting("Port of the HTTP API and the MCP server.", default=8734)
    embedder: EmbedderKind = _setting(
        "`minilm` (built in, offline), `openai` (any compatible endpoint) or `none`.",
        default="minilm",
    )
    embedding_url: str = _setting(
        "Base URL of the OpenAI-compatible endpoint.", default="https://api.openai.com/v1"
    )
    embedding_api_key: str | None = _setting(
        "Bearer token for `embedding_url`.", secret=True, default=None
    )
    embedding_model: str = _setting(
        "Model asked for at `embedding_url`.", default="text-embedding-3-small"
    )
    embedding_dimensions: int = _setting("Dimensions of that model.", default=1536)
    embedding_timeout_s: float = _setting(
        "Seconds to wait for `embedding_url` to answer.", default=20.0
    )
    llm_url: str | None = _setting(
        "Base URL of an OpenAI-compatible endpoint with a language model, such as "
        "`https://api.openai.com/v1`; without it nothing asks one.",
        default=None,
    )
    llm_model: str | None = _setting("Model asked for at `llm_url`.", default=None)
    llm_api_key: str | None = _setting("Bearer token for `llm_url`.", secret=True, default=None)
    llm_timeout_s: float = _setting("Seconds to wait for `llm_url` to answer.", default=60.0)
    graphiti_url: str | None = _setting(
        "Graph that `aegis memory sync graphiti` writes to: `bolt://user:password@host:7687` "
        "(Neo4j), `falkor://host:6379/name` (FalkorDB) or `kuzu:/path/to/file`.",
        secret=True,
        default=None,
    )
    consolidate_at: str = _setting(
        "When `aegis up` consolidates memory, each day, in UTC, such as `03:30`; `off` for never.",
        default="03:30",
    )
    consolidate_accept_from: float = _setting(
        "Score from which a proposal is accepted without asking, up to 1; 0 for never.",
        default=0.0,
    )
    embedding_budget_ms: int = _setting(
        "Milliseconds that recall waits for the vector of a question; then words alone answer.",
        default=2_000,
    )
    reranker: RerankerKind = _setting(
        "What reads the best memories again: `none`, `http` (Cohere's, Jina's or "
        "text-embeddings-inference's format) or `fastembed` (a local cross-encoder, extra).",
        default="none",
    )
    reranker_url: str | None = _setting(
        "Address of the reranking endpoint; `/rerank` is added where it is missing.", default=None
    )
    reranker_model: str | None = _setting(
        "Model asked for there, or fastembed's name of the local one.", default=None
    )
    reranker_path: Path | None = _setting(
        "Folder of the local cross-encoder; nothing is ever downloaded.", default=None
    )
    reranker_api_key: str | None = _setting(
        "Bearer token for `reranker_url`.", secret=True, default=None
    )
    reranker_budget_ms: int = _setting(
        "Milliseconds that recall waits for the reranker; then it answers without it.", default=200
    )
    reranker_top: int = _setting("How many of the best memories it reads.", default=50)
    reranker_weight: float = _setting(
        "What its word counts: 1 as much as recall's own, 0 nothing.", default=1.0
    )
    embedding_requests_per_minute: int = _setting(
        "Requests that `embedding_url` gets in a minute from one process at most; 0 for no limit.",
        default=0,
    )
    embedding_tokens_per_minute: int = _setting(
        "Tokens that `embedding_url` gets in a minute from one process at most; 0 for no limit.",
        default=0,
    )
    embedding_usd_per_million_tokens: float | None = _setting(
        "USD for a million tokens at `embedding_url`; what calls cost is counted with it.",
        default=None,
    )
    next_embedder: EmbedderKind = _setting(
        "Embedder that the model is changed to (`aegis memory models change`): `minilm`, `openai` "
        "or `none`. Give it to every process before the switch.",
        default="none",
    )
    next_embedding_url: str | None = _setting(
        "Base URL of the next embedder's endpoint; `embedding_url` if left out.", default=None
    )
    next_embedding_api_key: str | None = _setting(
        "Bearer token for it; `embedding_api_key` if left out and the URL is the same.",
        secret=True,
        default=None,
    )
    next_embedding_model: str = _setting("Model asked for there.", default="text-embedding-3-small")
    next_embedding_dimensions: int = _setting("Dimensions of that model.", default=1536)
    next_embedding_requests_per_minute: int = _setting(
        "As `embedding_requests_per_minute`, for the next embedder.", default=0
    )
    next_embedding_tokens_per_minute: int = _setting(
        "As `embedding_tokens_per_minute`, for the next embedder.", default=0
    )
    next_embedding_usd_per_million_tokens: float | None = _setting(
        "As `embedding_usd_per_million_tokens`, for the next embedder.", default=None
    )
    key_secret: str | None = _setting(
        "Secret that API keys are hashed with, 32 characters or more; after a comma a newer one. "
        "Without it one is made in `data_dir`.",
        secret=True,
        default=None,
    )
    keys_when_down: WhenDown = _setting(
        "What becomes of calls while the database does not answer: `closed` refuses them, `open` "
        "lets them pass unchecked.",
        default="closed",
    )
    keys_timeout_s: float = _setting(
        "Seconds until a database that does not answer a verification counts as down.", default=2.0
    )
    usage_keep_months: int = _setting(
        "Months of usage events kept beside the current one; older ones are exported and dropped.",
        default=13,
    )
    usage_months_ahead: int = _setting(
        "Months ahead for which partitions of usage events are made.", default=6
    )
    invoice_from: str | None = _setting(
        "Who bills, as invoices say it: name and address, lines set off by `|`.", default=None
    )
    invoice_due_days: int = _setting("Days until an invoice is due.", default=14)
    stripe_api_key: str | None = _setting(
        "Secret key of Stripe; without it nothing is sent there.", secret=True, default=None
    )
    stripe_webhook_secret: str | None = _setting(
        "Secret of Stripe's webhook endpoint, `whsec_…`.", secret=True, default=None
    )
    stripe_meters: str | None = _setting(
        "Meters of Stripe that usage is sent to: `calls=EVENT_NAME,tokens=EVENT_NAME`.",
        default=None,
    )
    stripe_api_base: str | None = _setting(
        "Address to use instead of Stripe's, for tests.", default=None
    )


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read settings from `environ` (the process's own by default); `overrides` win.

    Raises:
        ConfigError: a value does not parse, is out of range, or a variable is misspelt.
    """
    env = os.environ if environ is None else environ
    known = {ENV_PREFIX + f.name.upper(): f for f in fields(Settings)}
    hints = typing.get_type_hints(Settings)
    values: dict[str, Any] = {}
    _refuse_misspelt(env, known)
    for variable, f in known.items():
        raw = env.get(variable)
        if raw is not None and raw != "":
            values[f.name] = _parse(variable, raw, hints[f.name])
    values.update({name: value for name, value in overrides.items() if value is not None})
    settings = Settings(**values)
    check_ranges(settings)
    return settings


def load_secret(
    name: str, settings: Settings, environ: Mapping[str, str] | None = None
) -> tuple[str | None, frozenset[str] | None]:
    """Return a secret that workflows may send, and the hosts it may be sent to (None: any).

    It is `AEGIS_SECRET_NAME` of the environment, else the file `secrets/NAME` in the data folder.
    """
    env = os.environ if environ is None else environ
    folder = settings.data_dir / "secrets"
    found: list[str | None] = []
    for variable, file in ((name, name), (f"{name}_HOSTS", f"{name}.hosts")):
        value = env.get(f"{ENV_PREFIX}SECRET_{variable}")
        if value is None:
            try:
                value = (folder / file).read_text().strip()
            except (OSError, UnicodeError):
                value = None
        found.append(value)
    secret, hosts = found
    allowed = None if hosts is None else frozenset(hosts.lower().replace(",", " ").split())
    return secret or None, allowed


def silence_graphiti() -> None:
    """Turn graphiti-core's telemetry off, which is on by default; before it is imported."""
    os.environ["GRAPHITI_TELEMETRY_ENABLED"] = "false"


def load_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return `data_dir` alone, for whoever must go on where another setting is wrong."""
    raw = (os.environ if environ is None else environ).get(f"{ENV_PREFIX}DATA_DIR")
    return Path(raw).expanduser().absolute() if raw else default_data_dir()


def claude_config_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return where Claude Code keeps its settings and transcripts: `~/.claude` by default."""
    raw = (os.environ if environ is None else environ).get("CLAUDE_CONFIG_DIR")
    return Path(raw).expanduser().absolute() if raw else Path.home() / ".claude"


def _parse(variable: str, raw: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if raw not in choices:
            raise ConfigError(f"{variable} is {raw!r}; use one of {', '.join(choices)}.")
        return raw
    if kind is Path:
        return Path(raw).expanduser().absolute()
    if kind in (int, float):
        try:
            return kind(raw)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{variable} is {raw!r}; it must be {what}.") from None
    return raw


def _refuse_misspelt(env: Mapping[str, str], known: Mapping[str, Any]) -> None:
    for variable in sorted(set(env) - set(known)):
        if variable.startswith(ENV_PREFIX):
            import difflib

            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
            # Another program's variable is none of our business; a slip of the pen is.
            if near:
                raise ConfigError(f"{variable} is no setting; did you mean {near[0]}?")
