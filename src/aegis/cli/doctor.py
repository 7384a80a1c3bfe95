"""`aegis doctor`: is the database well, and what to do where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Option
from aegis.cli.options import AsJson
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis
    from aegis.ops.health.models import Report

__all__ = ["doctor"]

#: What could not be checked is not well.
_EXIT = {"ok": 0, "unknown": 1, "warning": 1, "critical": 2}
_COLOUR = {"ok": "green", "unknown": "cyan", "warning": "yellow", "critical": "red"}


def doctor(
    only: Annotated[
        list[str] | None, Option(help="A check or a group, such as access; may be repeated.")
    ] = None,
    fix_hint: Annotated[bool, Option(help="What each finding means, and what puts it right.")] = (
        False
    ),
    all_: Annotated[bool, Option("--all", help="Checks that are well, too.")] = False,
    grafana: Annotated[
        Path | None, Option(help="Write Prometheus rules and Grafana's dashboard here instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the database; exit status 0 for well, 1 for warnings or unknown, 2 for critical."""
    import click

    if grafana is not None:
        _write_files(grafana)
        return
    report = _ask(only)
    if as_json:
        from aegis.cli.render import show_json

        show_json(report)
    else:
        from aegis.wire.plain import plain

        _show(plain(report), hints=fix_hint, everything=all_)
    raise click.exceptions.Exit(_EXIT[report.state])


def _ask(only: Sequence[str] | None) -> Report:
    from aegis.config import load_settings
    from aegis.errors import ConfigError, OpsError, Unavailable
    from aegis.ops.health.service import chosen, report_of_silence

    chosen(only)
    settings = load_settings()

    async def work(client: Aegis) -> Report:
        return await client.health.check(only=only)

    try:
        return with_client(work)
    except (Unavailable, OpsError) as error:
        return report_of_silence(error, settings, only=only)
    except ConfigError as error:
        # A setting that is wrong is told as such; an address that leads nowhere is a finding.
        if not error.code.startswith("db_"):
            raise
        return report_of_silence(error, settings, only=only)


def _show(report: dict[str, Any], *, hints: bool, everything: bool) -> None:
    from aegis.cli.render import line, style, table

    shown = [r for r in report["results"] if everything or r["state"] != "ok"]
    table(
        ["state", "check", "observed", "threshold"],
        [[r["state"], r["id"], r["observed"], r["threshold"]] for r in shown],
        wide="observed",
        empty="All is well.",
    )
    if hints:
        for result in shown:
            _explain(result)
    counts = ", ".join(
        f"{report[state]} {state}"
        for state in ("critical", "warning", "unknown", "ok")
        if report[state]
    )
    verdict = style(report["state"], _COLOUR[report["state"]], "bold")
    line(f"{verdict}: {counts}, in {report['elapsed_ms'] / 1000:.2f} s.")


def _explain(result: dict[str, Any]) -> None:
    from aegis.cli.render import line, style

    line(style(f"{result['id']}: {result['title']}", "bold"))
    line(f"  {result['means']}")
    line(f"  {result['advice']}")
    for finding in result["findings"]:
        where = f"{finding['object']}: " if finding["object"] else ""
        line(f"  {style(finding['state'], _COLOUR[finding['state']])} {where}{finding['observed']}")
        if finding["fix"]:
            line(f"      {finding['fix']}")
    if result["hidden"]:
        line(f"  and {result['hidden']:,} more")
    line(style(f"  {result['docs']}", "dim"))
    line()


def _write_files(folder: Path) -> None:
    from aegis.cli.render import note
    from aegis.ops.health.grafana import write_files

    for path in write_files(folder):
        note(f"Written: {path}")
