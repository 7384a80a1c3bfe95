"""Settings of the work that an agent does; `Settings` in `config.py` takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aegis.config_backup import BackupSettings
from aegis.config_fields import setting

__all__ = ["WorkSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings(BackupSettings):
    """The worker, workflows, research and the watching of competitors."""

    outbound_allow: str | None = setting(
        "Private networks and hosts that workflows and page checks may reach, after commas: "
        "`10.1.0.0/16,wiki.example.com`.",
        default=None,
    )
    workflows_step_timeout_s: float = setting(
        "Seconds that one attempt at a workflow's node may take when the node says nothing.",
        default=600.0,
    )
    workflows_keep_days: int = setting(
        "Days that steps of ended executions are kept, 1 to 3650; the executions stay.", default=30
    )
    workflows_keep_executions_days: int = setting(
        "Days that executions are kept when they have ended, with their context and output; 0 for "
        "ever. One goes no earlier than its steps, and than what started it.",
        default=365,
    )
    workflows_sql_url: str | None = setting(
        "PostgreSQL that SQL nodes of workflows read, with a role that may only read what "
        "workflows may see (`aegis workflow reader` makes one); without it they do not run.",
        secret=True,
        default=None,
    )
    workflows_sql_write: Literal["off", "on"] = setting(
        "`on` lets nodes of type `sql_write` change this database with all rights of Aegis: who "
        "may save workflows may then do everything.",
        default="off",
    )
    anthropic_url: str = setting(
        "Base URL of Anthropic's API, for nodes of type `llm`.",
        default="https://api.anthropic.com",
    )
    anthropic_api_key: str | None = setting("Key for it.", secret=True, default=None)
    anthropic_model: str | None = setting("Model asked for there.", default=None)
    worker: Literal["on", "off"] = setting(
        "Whether `aegis up` runs due work itself; `off` leaves it to `aegis worker`.", default="on"
    )
    worker_concurrency: int = setting(
        "How many things one worker runs at once, 1 to 1000.", default=8
    )
    worker_grace_s: float = setting(
        "Seconds that running work has when a worker stops; then it is handed back.", default=5.0
    )
    intel_user_agent: str = setting(
        "What watched websites are told who asks; robots.txt speaks to its first word.",
        default="AegisBot/1.0 (watches for changes)",
    )
    intel_delay_s: float = setting(
        "Seconds between two requests to one website, of all workers together; its robots.txt may "
        "ask for more.",
        default=2.0,
    )
    intel_per_host: int = setting("Pages of one website that are checked at once.", default=2)
    intel_confirm_s: float = setting(
        "Seconds until a page that differs is fetched again to confirm it.", default=60.0
    )
    intel_timeout_s: float = setting("Seconds that a request may take.", default=30.0)
    intel_max_bytes: int = setting(
        "Bytes that a page may have, decompressed.", default=5 * 1024 * 1024
    )
    intel_keep_snapshots: int = setting(
        "Snapshots kept of a page beside the one compared with.", default=20
    )
    intel_browser_path: Path | None = setting(
        "Chromium for pages that need a browser (extra `browser`); one on the PATH otherwise.",
        default=None,
    )
    intel_screenshot_dir: Path | None = setting(
        "Folder of screenshots; `screenshots` in `data_dir` otherwise.", default=None
    )
    research_provider: Literal["local", "gemini", "perplexity", "claude"] = setting(
        "Who looks into a question where a call names nobody: `local` (Aegis's own memory), "
        "`gemini`, `perplexity` or `claude`.",
        default="local",
    )
    research_job_usd: float = setting(
        "USD that one research job may cost at most, where it says nothing else.", default=5.0
    )
    research_month_usd: float = setting(
        "USD that research may cost in a month (UTC), of all namespaces together.", default=50.0
    )
    research_reuse_days: float = setting(
        "Days in which a job with the same or nearly the same question is offered instead of "
        "bought again; 0 for never.",
        default=7.0,
    )
    research_similar_from: float = setting(
        "Similarity from which two questions are nearly the same, up to 1.", default=0.95
    )
    research_keep_days: int = setting(
        "Days that research jobs are kept when they have ended, with their reports; 0 for ever. "
        "What they became in memory, and what months cost, stays.",
        default=365,
    )
    research_gemini_url: str = setting(
        "Base URL of Gemini's API.", default="https://generativelanguage.googleapis.com"
    )
    research_gemini_path: str = setting("Path of its interactions.", default="/v1beta/interactions")
    research_gemini_stream: Literal["on", "off"] = setting(
        "Whether its events are followed between two reads, which is a request under way for each "
        "job: `on` or `off`.",
        default="off",
    )
    research_gemini_agent: str = setting(
        "Agent that is asked for there.", default="deep-research-preview-04-2026"
    )
    research_gemini_api_key: str | None = setting("Key for it.", secret=True, default=None)
    research_perplexity_url: str = setting(
        "Base URL of Perplexity's API.", default="https://api.perplexity.ai"
    )
    research_perplexity_path: str = setting(
        "Path of its asynchronous jobs; `/async/chat/completions` is the older one.",
        default="/v1/async/sonar",
    )
    research_perplexity_model: str = setting(
        "Model that is asked for there.", default="sonar-deep-research"
    )
    research_perplexity_api_key: str | None = setting("Key for it.", secret=True, default=None)
    research_claude_url: str = setting(
        "Base URL of Anthropic's API.", default="https://api.anthropic.com"
    )
    research_claude_path: str = setting("Path of its messages.", default="/v1/messages")
    research_claude_model: str = setting(
        "Model that is asked for there.", default="claude-sonnet-5-5"
    )
    research_claude_version: str = setting("Header `anthropic-version`.", default="2023-06-01")
    research_claude_tool: str = setting(
        "Type of its web search tool.", default="web_search_20260318"
    )
    research_claude_max_searches: int = setting("Searches of one of its turns at most.", default=10)
    research_claude_max_tokens: int = setting(
        "Tokens that one of its turns may write at most.", default=16_000
    )
    research_claude_stream: Literal["on", "off"] = setting(
        "Whether its answer is streamed: `on` or `off`.", default="on"
    )
    research_claude_api_key: str | None = setting("Key for it.", secret=True, default=None)
