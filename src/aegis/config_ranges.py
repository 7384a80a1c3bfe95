"""Which values settings may have; each refusal names the variable, the value and the range."""

from __future__ import annotations

import re
from typing import Any

from aegis.errors import ConfigError

__all__ = ["ENV_PREFIX", "check_ranges", "networks_of"]

ENV_PREFIX = "AEGIS_"


def check_ranges(settings: Any) -> None:
    """Refuse values that no `Settings` may have (`ConfigError`)."""
    place = settings.namespace
    if not place.strip() or place != place.strip() or not place.isprintable() or len(place) > 200:
        raise ConfigError(
            f"AEGIS_NAMESPACE is {place!r}; use 1 to 200 printable characters, no blank ends."
        )
    for name in (
        *("pool_max_idle_s", "pool_timeout_s", "connect_timeout_s"),
        *("embedding_timeout_s", "llm_timeout_s", "keys_timeout_s", "workflows_step_timeout_s"),
    ):
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value}; it must be above 0.")
    if not 0 <= settings.pool_min_size <= settings.pool_max_size or settings.pool_max_size < 1:
        raise ConfigError(
            f"AEGIS_POOL_MIN_SIZE is {settings.pool_min_size} and AEGIS_POOL_MAX_SIZE is "
            f"{settings.pool_max_size}; they must satisfy 0 <= min <= max and max >= 1."
        )
    for name in ("statement_timeout_ms", "lock_timeout_ms"):
        if getattr(settings, name) < 0:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} must be 0 or more.")
    if settings.direct_database_url is not None and settings.database_url is None:
        raise ConfigError(
            "AEGIS_DIRECT_DATABASE_URL is set and AEGIS_DATABASE_URL is not: it is the way past a "
            "pooler to the same database. Set both, or neither."
        )
    _check_numbers(settings)
    _check_research(settings)


def _check_research(settings: Any) -> None:
    for name, most in (
        ("research_job_usd", 1_000_000),
        ("research_month_usd", 10_000_000),
        ("research_reuse_days", 3_650),
        ("research_similar_from", 1),
        ("research_claude_max_searches", 100),
        ("research_claude_max_tokens", 128_000),
    ):
        value = getattr(settings, name)
        least = 1 if name.startswith("research_claude") else 0
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least} to {most:,}.")
    for name in ("gemini", "perplexity", "claude"):
        url, key = (getattr(settings, f"research_{name}_{what}") for what in ("url", "api_key"))
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ConfigError(
                f"AEGIS_RESEARCH_{name.upper()}_URL is no web address; use https://HOST."
            )
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise ConfigError(
                f"AEGIS_RESEARCH_{name.upper()}_API_KEY has a space, a line break or a letter that "
                "no key has; copy it again."
            )


def _check_numbers(settings: Any) -> None:
    if settings.hnsw_ef_search != 0 and not 10 <= settings.hnsw_ef_search <= 1000:
        raise ConfigError(
            f"AEGIS_HNSW_EF_SEARCH is {settings.hnsw_ef_search}; use 10 to 1000, or 0 for the "
            "built-in widths."
        )
    if not 0 <= settings.hook_budget_tokens <= 100_000:
        raise ConfigError(
            f"AEGIS_HOOK_BUDGET_TOKENS is {settings.hook_budget_tokens}; use 0 to 100000."
        )
    if not 1 <= settings.session_idle_minutes <= 525_600:
        raise ConfigError(
            f"AEGIS_SESSION_IDLE_MINUTES is {settings.session_idle_minutes}; use 1 to 525600."
        )
    if not 1 <= settings.metrics_keep_days <= 400:
        raise ConfigError(f"AEGIS_METRICS_KEEP_DAYS is {settings.metrics_keep_days}; use 1 to 400.")
    _check_telemetry(settings)
    if not 0 <= settings.api_port <= 65535:
        raise ConfigError(f"AEGIS_API_PORT is {settings.api_port}; use 0 to 65535.")
    _check_outbound(settings)
    # With the longest ending it stays below the 63 letters of a name.
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,29}", settings.role_prefix):
        raise ConfigError(
            f"AEGIS_ROLE_PREFIX is {settings.role_prefix!r}; use a to z, 0 to 9 and _, 30 at most."
        )
    _check_http(settings)
    if not 1 <= settings.worker_concurrency <= 1_000:
        raise ConfigError(
            f"AEGIS_WORKER_CONCURRENCY is {settings.worker_concurrency}; use 1 to 1000."
        )
    if not 0 <= settings.worker_grace_s <= 3_600:
        raise ConfigError(f"AEGIS_WORKER_GRACE_S is {settings.worker_grace_s:g}; use 0 to 3600.")
    _check_usage(settings)
    _check_intel(settings)
    _check_backups(settings)
    _check_operations(settings)
    _check_consolidation(settings)
    _check_second_stage(settings)
    _check_embedders(settings)
    _check_billing(settings)


def _check_outbound(settings: Any) -> None:
    if settings.outbound_allow is None:
        return
    import ipaddress

    for part in (p.strip() for p in settings.outbound_allow.split(",")):
        if "/" not in part:
            continue
        try:
            ipaddress.ip_network(part)
        except ValueError as error:
            raise ConfigError(
                f"AEGIS_OUTBOUND_ALLOW has {part!r} ({error}); write networks such as 10.1.0.0/16."
            ) from None


def _check_http(settings: Any) -> None:
    for name, least, most in (
        ("http_hsts_s", 0, 2 * 31_536_000),
        ("http_rate_per_s", 0, 1_000_000),
        ("http_rate_burst", 1, 1_000_000),
        ("http_failures_per_minute", 0, 1_000_000),
        ("http_max_connections", 1, 1_000_000),
        ("http_max_connections_per_client", 1, 1_000_000),
        ("http_max_requests", 1, 100_000),
        ("http_max_streams", 1, 100_000),
        ("http_header_timeout_s", 0.1, 600),
        ("http_body_timeout_s", 0.1, 3_600),
        ("http_request_timeout_s", 0.1, 86_400),
        ("http_keep_alive_s", 0.1, 3_600),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(
                f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least:g} to {most:,}."
            )
    if settings.tls_key is not None and settings.tls_certificate is None:
        raise ConfigError("AEGIS_TLS_KEY is of no use without AEGIS_TLS_CERTIFICATE; set both.")
    networks_of("AEGIS_HTTP_TRUSTED_PROXIES", settings.http_trusted_proxies)
    for origin in (settings.http_cors_origins or "").split(","):
        if origin.strip() and not re.fullmatch(r"https?://[^\s/?#@*]+", origin.strip()):
            raise ConfigError(
                f"AEGIS_HTTP_CORS_ORIGINS has {origin.strip()!r}; write origins such as "
                "https://app.example.com, without a path."
            )


def networks_of(variable: str, text: str | None) -> tuple[Any, ...]:
    """Return the networks that a setting names, set off by commas (`ConfigError`)."""
    if not text:
        return ()
    import ipaddress

    found: list[Any] = []
    for part in (p.strip() for p in text.split(",")):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise ConfigError(
                f"{variable} has {part!r} ({error}); write networks such as 10.1.0.0/16."
            ) from None
    return tuple(found)


def _check_telemetry(settings: Any) -> None:
    for name, least, most in (
        ("metrics_every_s", 1, 3_600),
        ("alert_keep_days", 1, 3_660),
        ("session_events_keep_days", 0, 3_660),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least} to {most:,}.")
    if settings.metrics_collect == "prometheus" and settings.metrics_prometheus is None:
        raise ConfigError(
            "AEGIS_METRICS_COLLECT is prometheus; set AEGIS_METRICS_PROMETHEUS to its address."
        )


def _check_usage(settings: Any) -> None:
    for name, least, most in (
        ("usage_keep_months", 3, 1_200),
        ("usage_months_ahead", 1, 60),
        ("workflows_keep_days", 1, 3_650),
        ("workflows_keep_executions_days", 0, 36_500),
        ("research_keep_days", 0, 36_500),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value}; use {least} to {most}.")


def _check_intel(settings: Any) -> None:
    for name, least, most in (
        ("intel_delay_s", 0, 3_600),
        ("intel_per_host", 1, 100),
        ("intel_confirm_s", 0, 86_400),
        ("intel_timeout_s", 0.1, 600),
        ("intel_max_bytes", 1_024, 2**30),
        ("intel_keep_snapshots", 0, 10_000),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least} to {most:,}.")
    agent = settings.intel_user_agent
    if not re.fullmatch(r"[A-Za-z_-]+[ -~]*", agent) or len(agent) > 300:
        raise ConfigError(
            f"AEGIS_INTEL_USER_AGENT is {agent[:80]!r}; begin with a name such as AegisBot/1.0."
        )


def _check_backups(settings: Any) -> None:
    ranges = (
        ("backup_jobs", 1, 64),
        ("backup_keep_days", 1, 36_500),
        ("backup_keep_remote_days", 1, 36_500),
        ("backup_keep_at_least", 1, 10_000),
    )
    for name, least, most in ranges:
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value}; use {least} to {most}.")
    if not re.fullmatch(r"auto|none|(gzip|zstd|lz4)(:\d{1,2})?", settings.backup_compression):
        raise ConfigError(
            f"AEGIS_BACKUP_COMPRESSION is {settings.backup_compression!r}; use auto, none, gzip, "
            "zstd or lz4, with a level such as gzip:6."
        )
    place = settings.backup_destination
    if place is not None and not re.match(r"(file:///|sftp://[^/]+/|s3://[^/])", place):
        raise ConfigError(
            "AEGIS_BACKUP_DESTINATION is no address of ours; use file:///folder, "
            "sftp://user@host/folder or s3://bucket/prefix."
        )
    if place is not None and re.match(r"\w+://[^/@]*:[^/@]*@", place):
        raise ConfigError(
            "AEGIS_BACKUP_DESTINATION has a password in it; put that into "
            "AEGIS_BACKUP_SFTP_PASSWORD."
        )


def _check_operations(settings: Any) -> None:
    for name, least, most in (
        ("health_timeout_ms", 10, 60_000),
        ("health_storage_gb", 0, 1e9),
        ("maintenance_lock_timeout_ms", 1, 60_000),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(
                f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least:g} to {most:g}."
            )
    window, hour = settings.maintenance_window, r"([01]\d|2[0-3]):[0-5]\d"
    if window != "always" and not re.fullmatch(f"{hour}-{hour}", window):
        raise ConfigError(
            f"AEGIS_MAINTENANCE_WINDOW is {window!r}; use hours such as 01:00-05:00, or always."
        )


def _check_embedders(settings: Any) -> None:
    for name in ("embedding_dimensions", "next_embedding_dimensions"):
        value = getattr(settings, name)
        if not 1 <= value <= 16_000:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value}; use 1 to 16000.")
    for name in ("embedding_", "next_embedding_"):
        for what in ("requests_per_minute", "tokens_per_minute", "usd_per_million_tokens"):
            value = getattr(settings, name + what)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"{ENV_PREFIX}{(name + what).upper()} is {value}; use 0 or more.")
    if settings.next_embedder != "none" and settings.embedder == "none":
        raise ConfigError(
            "AEGIS_NEXT_EMBEDDER needs AEGIS_EMBEDDER, the one to change from; without vectors "
            "so far, set AEGIS_EMBEDDER to the new one."
        )


def _check_billing(settings: Any) -> None:
    if not 0 <= settings.invoice_due_days <= 365:
        raise ConfigError(f"AEGIS_INVOICE_DUE_DAYS is {settings.invoice_due_days}; use 0 to 365.")
    meters = settings.stripe_meters
    one = r"(calls|tokens)=[A-Za-z0-9_.-]{1,100}"
    if meters and not re.fullmatch(rf"{one}(,(?!\1=){one})?", meters):
        raise ConfigError(
            f"AEGIS_STRIPE_METERS is {meters!r}; write calls=EVENT_NAME,tokens=EVENT_NAME."
        )


def _check_consolidation(settings: Any) -> None:
    at = settings.consolidate_at
    if at != "off" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise ConfigError(f"AEGIS_CONSOLIDATE_AT is {at!r}; use a time such as 03:30, or off.")
    if not 0 <= settings.consolidate_accept_from <= 1:
        raise ConfigError(
            f"AEGIS_CONSOLIDATE_ACCEPT_FROM is {settings.consolidate_accept_from}; use 0 to 1."
        )


def _check_second_stage(settings: Any) -> None:
    for name, least, most in (
        ("embedding_budget_ms", 1, 600_000),
        ("reranker_budget_ms", 1, 600_000),
        ("reranker_top", 2, 1_000),
        ("reranker_weight", 0, 100),
    ):
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{ENV_PREFIX}{name.upper()} is {value:g}; use {least} to {most:,}.")
