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
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from aegis.errors import ConfigError

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENV_PREFIX", "EmbedderKind", "Settings", "default_data_dir", "load_settings"]

ENV_PREFIX = "AEGIS_"

EmbedderKind = Literal["minilm", "openai", "none"]


def default_data_dir() -> Path:
    """Return the platform's user-data folder for Aegis, such as `~/.local/share/aegis`.

    For root it is `/var/lib/aegis`: the server runs without root, and may not enter root's home.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/aegis")
    import platformdirs

    return Path(platformdirs.user_data_dir("aegis", appauthor=False))


def _setting(doc: str, *, secret: bool = False, **default: Any) -> Any:
    return field(repr=not secret, metadata={"doc": doc, "secret": secret}, **default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, with defaults that work on one box. `load_settings` reads the environment."""

    database_url: str | None = _setting(
        "PostgreSQL to use (`postgresql://…`); without it an embedded one runs in `data_dir`.",
        secret=True,
        default=None,
    )
    data_dir: Path = _setting(
        "Folder of the embedded server's cluster, the operator token and logs.",
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
    _check(settings)
    return settings


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


def _check(settings: Settings) -> None:
    place = settings.namespace
    if not place.strip() or place != place.strip() or not place.isprintable() or len(place) > 200:
        raise ConfigError(
            f"AEGIS_NAMESPACE is {place!r}; use 1 to 200 printable characters, no blank ends."
        )
    for name in ("pool_max_idle_s", "pool_timeout_s", "connect_timeout_s", "embedding_timeout_s"):
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value}; it must be above 0.")
    _check_ranges(settings)
    if not 0 <= settings.pool_min_size <= settings.pool_max_size or settings.pool_max_size < 1:
        raise ConfigError(
            f"AEGIS_POOL_MIN_SIZE is {settings.pool_min_size} and AEGIS_POOL_MAX_SIZE is "
            f"{settings.pool_max_size}; they must satisfy 0 <= min <= max and max >= 1."
        )
    for name in ("statement_timeout_ms", "lock_timeout_ms"):
        if getattr(settings, name) < 0:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} must be 0 or more.")
    if settings.hnsw_ef_search != 0 and not 10 <= settings.hnsw_ef_search <= 1000:
        raise ConfigError(
            f"AEGIS_HNSW_EF_SEARCH is {settings.hnsw_ef_search}; use 10 to 1000, or 0 for the "
            "built-in widths."
        )


def _check_ranges(settings: Settings) -> None:
    if not 1 <= settings.metrics_keep_days <= 400:
        raise ConfigError(f"AEGIS_METRICS_KEEP_DAYS is {settings.metrics_keep_days}; use 1 to 400.")
    if not 0 <= settings.api_port <= 65535:
        raise ConfigError(f"AEGIS_API_PORT is {settings.api_port}; use 0 to 65535.")
    if not 1 <= settings.embedding_dimensions <= 16_000:
        raise ConfigError(
            f"AEGIS_EMBEDDING_DIMENSIONS is {settings.embedding_dimensions}; use 1 to 16000."
        )
