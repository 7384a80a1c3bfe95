"""`aegis research …`: questions that somebody else looks into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, json_object, read_text, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.research.models import Job, JobDetail, Started

__all__ = ["app"]

app = App("Research by Gemini, Perplexity, Claude or Aegis's own memory, within a budget.")
app.add_later("prices", "aegis.cli.research_prices:app")

JobId = Annotated[str, Argument(metavar="ID", help="Id of the job.")]


@app.add
def start(
    query: Annotated[str, Argument(metavar="QUERY", help="The question; - reads it.")],
    provider: Annotated[
        str | None, Option("--provider", "-p", help="local, gemini, perplexity or claude.")
    ] = None,
    model: Annotated[str | None, Option(help="Model or agent, instead of the usual one.")] = None,
    option: Annotated[
        str | None, Option("--options", help="What the provider is told, a JSON object or @FILE.")
    ] = None,
    budget: Annotated[str | None, Option(help="USD that it may cost at most.")] = None,
    key: Annotated[str | None, Option(help="One key is one job, however often it is sent.")] = None,
    remember: Annotated[bool, Option("--remember", help="Make its report a memory.")] = False,
    forget: Annotated[bool, Option("--no-memory", help="Do not.")] = False,
    again: Annotated[bool, Option("--again", help="Buy it although it was asked before.")] = False,
    wait: Annotated[bool, Option("--wait", "-w", help="Wait and show the report.")] = False,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Start a job, or show the recent one that asks the same.

    A worker runs it. With --wait this process does where there is none, and prints the report as
    Markdown. What is bought becomes a memory unless --no-memory.
    """
    from aegis.cli.progress import working
    from aegis.cli.render import note, show_json
    from aegis.wire.plain import plain

    text, options = read_text("query", query), json_object("--options", option)
    kept = True if remember else (False if forget else None)

    async def work(client: Aegis) -> tuple[Started, JobDetail | None]:
        started = await client.research.start(
            text,
            provider=provider,
            model=model,
            options=options,
            budget_usd=budget,
            idempotency_key=key,
            remember=kept,
            again=again,
        )
        if started.outcome == "offered" and not as_json:
            note(_offer(started))
        if not wait:
            return started, None
        with working(f"Researching with {started.job.provider}"):
            return started, await client.research.wait(started.job.id)

    started, detail = with_client(work, namespace=namespace)
    if as_json:
        show_json({**plain(started), "detail": plain(detail)})
    elif detail is not None:
        _show_report(detail)
    else:
        _show_started(started)


@app.add
def list_(
    status: Annotated[
        list[str] | None, Option(help="pending, running, completed, failed or cancelled.")
    ] = None,
    provider: Annotated[str | None, Option(help="Of this provider alone.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from aegis.wire.cursor import RESEARCH_JOBS

    show_page(
        RESEARCH_JOBS,
        lambda a, before: a.research.list(
            limit=limit, before=before, status=status or (), provider=provider
        ),
        _show_list, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


def _show_list(page: dict[str, Any]) -> None:
    from aegis.cli.render import clip, table, when

    table(
        ["job", "created", "provider", "status", "cost", "query"],
        [
            [
                j["id"],
                when(j["created_at"]),
                j["provider"] or "",
                _status(j),
                _cost(j),
                clip(j["query"], 300),
            ]
            for j in page["items"]
        ],
        wide="query",
        empty="There is no research job.",
    )


@app.add
def show(
    job_id: JobId,
    markdown: Annotated[bool, Option("--markdown", "-m", help="The report alone.")] = False,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show a job: its report, what it cites, what it cost."""
    from aegis.cli.render import show_json

    detail = with_client(lambda a: a.research.get(job_id), namespace=namespace)
    if as_json:
        show_json(detail)
    elif markdown:
        _show_report(detail)
    else:
        _show_detail(detail)


@app.add
def watch(job_id: JobId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Follow a job to its end and print its report; it is run here where no worker does."""
    from aegis.cli.render import note, show_json

    seen = ""

    def tell(job: Job) -> None:
        nonlocal seen
        now = f"{job.status}, asked {job.polls} times" + (f"; {job.error}" if job.error else "")
        if now != seen and not as_json:
            note(now)
        seen = now

    detail = with_client(lambda a: a.research.wait(job_id, on_progress=tell), namespace=namespace)
    if as_json:
        show_json(detail)
    else:
        _show_report(detail)


@app.add
def cancel(job_id: JobId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Have a job end; what it cost until then is paid."""
    from aegis.cli.render import line, show_json
    from aegis.wire.plain import plain

    job: dict[str, Any] = plain(
        with_client(lambda a: a.research.cancel(job_id), namespace=namespace)
    )
    if as_json:
        show_json(job)
    else:
        line(f"{job['id']}  {_status(job)}")


@app.add
def delete(job_id: JobId, yes: Yes = False, namespace: Namespace = None) -> None:
    """Delete a job that has ended, with its report; a memory that it became stays."""
    from aegis.cli.render import line

    confirm(f"Research job {job_id} and its report are deleted.", yes=yes)
    with_client(lambda a: a.research.delete(job_id), namespace=namespace)
    line(f"Deleted {job_id}.")


@app.add
def budget(
    set_: Annotated[
        str | None, Option("--set", help="USD a month of the namespace; `none` for no limit.")
    ] = None,
    everybody: Annotated[
        bool, Option("--everybody", help="Of all namespaces together, with --set.")
    ] = False,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show what this month may cost, has cost, and keeps free; or set it."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        if set_ is None:
            return await client.research.budget()
        usd = None if set_ == "none" else set_
        return await client.research.set_budget(usd, everybody=everybody)

    items: list[dict[str, Any]] = plain(with_client(work, namespace=namespace))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["namespace", "month", "limit USD", "spent", "kept free"],
        [
            [
                "all" if m["namespace"] == "*" else m["namespace"],
                m["month"][:7],
                "none" if m["limit_usd"] is None else _usd(m["limit_usd"]),
                _usd(m["spent_usd"]),
                _usd(m["reserved_usd"]),
            ]
            for m in items
        ],
        wide="namespace",
        empty="",
    )


@app.add
def providers(as_json: AsJson = False) -> None:
    """List who can be asked, what is missing, and what a job of usual size costs."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    items: list[dict[str, Any]] = plain(with_client(lambda a: a.research.providers()))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["provider", "ready", "model", "about USD", "at most", "needs"],
        [
            [
                p["name"],
                "yes" if p["ready"] else "no",
                p["model"] or "",
                "not known" if p["estimate_usd"] is None else _usd(p["estimate_usd"]),
                f"{p['ceiling_s'] / 60:g} min",
                ", ".join(p["missing"]),
            ]
            for p in items
        ],
        wide="needs",
        empty="",
    )


def _offer(started: Started) -> str:
    job, like = started.job, started.similarity or 0
    return (
        f"Asked before ({like:.0%} alike) as {job.id}, {job.status}: {job.query[:200]!r}. Nothing "
        "was bought; --again buys it."
    )


def _show_started(started: Started) -> None:
    from aegis.cli.render import line

    job = started.job
    line(f"{job.id}  {job.provider}  {job.status}")
    if started.outcome == "new":
        line(f"Follow it with `aegis research watch {job.id}`.")


def _show_report(detail: JobDetail) -> None:
    from aegis.cli.render import line
    from aegis.errors import Unavailable

    if detail.markdown is not None:
        line(detail.markdown.rstrip("\n"))
    if detail.job.status != "completed":
        why = detail.job.error or "there is no report"
        raise Unavailable(
            f"Research job {detail.job.id} is {detail.job.status}: {why}",
            code=detail.job.error_code or "research_unfinished",
        )


def _show_detail(detail: JobDetail) -> None:
    from aegis.cli.render import clip, line, pairs, when
    from aegis.wire.plain import plain

    j: dict[str, Any] = plain(detail.job)
    calls: list[dict[str, Any]] = plain(detail.calls)
    doubtful = sum(1 for c in detail.citations if not c.verified)
    pairs(
        [
            ("job", j["id"]),
            ("query", clip(j["query"], 1_000)),
            ("provider", f"{j['provider']} {j['model'] or ''}".strip()),
            ("status", _status(j)),
            ("error", j["error"]),
            ("created", when(j["created_at"])),
            ("started", when(j["started_at"]) or None),
            ("ended", when(j["completed_at"]) or None),
            ("cost", _cost(j) or None),
            ("budget", j["budget_usd"] and f"{_usd(j['budget_usd'])} USD"),
            ("uncertain", _uncertain(j)),
            ("calls", [f"{c['call_key']}: {c['cost_usd'] or 'unknown'} USD" for c in calls]),
            ("remote id", j["remote_id"]),
            ("memory", j["episode_id"] and f"e{j['episode_id']}"),
            ("sources", len(detail.sources) or None),
            ("citations", f"{len(detail.citations)}, {doubtful} not verified"),
            ("warnings", detail.warnings),
        ]
    )
    if detail.markdown is not None:
        line()
        line(detail.markdown.rstrip("\n"))


def _status(job: dict[str, Any]) -> str:
    ends = job["cancel_requested_at"] is not None and job["next_poll_at"] is not None
    return f"{job['status']} (ends)" if ends and job["status"] != "completed" else job["status"]


def _cost(job: dict[str, Any]) -> str:
    if job["cost_usd"] is not None:
        return f"${_usd(job['cost_usd'])}"
    return "unknown" if _uncertain(job) else ""


def _uncertain(job: dict[str, Any]) -> str | None:
    detail: dict[str, Any] = job["cost_detail"] or {}
    return detail.get("uncertain")


def _usd(text: str) -> str:
    from decimal import Decimal

    amount = Decimal(text).normalize()
    return f"{amount:f}" if amount.as_tuple().exponent < -2 else f"{amount:.2f}"  # pyright: ignore[reportOperatorIssue]
