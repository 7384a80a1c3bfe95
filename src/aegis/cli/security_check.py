"""`aegis security check`, `hba` and `tls`: who gets in, and what they may."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import Option
from aegis.cli.options import AsJson

if TYPE_CHECKING:
    from aegis.cli.command import App
    from aegis.security.roles.models import CheckReport

__all__ = ["add_to", "check", "hba", "tls"]

#: What could not be told is not well.
_EXIT = {"ok": 0, "unknown": 1, "bad": 2}
_COLOUR = {"ok": "green", "unknown": "cyan", "bad": "red"}


def add_to(app: App) -> None:
    """Add these commands to the group."""
    app.add(check)
    app.add(hba)
    app.add(tls)


def check(
    url: Annotated[
        str | None,
        Option(help="The database as an administrator, who may look at everything."),
    ] = None,
    all_: Annotated[bool, Option("--all", help="Checks that are well, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare what is with what should be; exit status 0 for well, 1 for unknown, 2 for bad."""
    import asyncio

    import click

    from aegis.cli.render import show_json
    from aegis.config import load_settings
    from aegis.security.service import Security

    settings = load_settings()

    async def work() -> CheckReport:
        return await Security.of(settings, url=url).check()

    report = asyncio.run(work())
    if as_json:
        show_json(report)
    else:
        _show(report, everything=all_)
    raise click.exceptions.Exit(_EXIT[report.verdict])


def hba(
    database: Annotated[str | None, Option(help="Name of the database; ours otherwise.")] = None,
    network: Annotated[
        list[str] | None,
        Option(help="A network that may connect, over TLS, such as 10.1.0.0/16; repeatable."),
    ] = None,
    administrator: Annotated[
        str, Option(help="The superuser, who comes by the socket alone.")
    ] = "postgres",
    single: Annotated[
        str | None, Option(help="One login that does everything, instead of the roles.")
    ] = None,
) -> None:
    """Print a pg_hba.conf for a server of your own: what it does not name is refused."""
    from aegis.cli.render import line
    from aegis.config import load_settings
    from aegis.security.roles.hba import hba_file
    from aegis.security.service import database_name

    settings = load_settings()
    text = hba_file(
        database=database or database_name(settings),
        prefix=settings.role_prefix,
        networks=network or (),
        administrator=administrator,
        single=single,
    )
    line(text.rstrip())


def tls(
    certificate: Annotated[
        Path, Option(help="The server's certificate, as the server sees it.")
    ] = Path("server.crt"),
    key: Annotated[Path, Option(help="Its key, readable for the server alone.")] = Path(
        "server.key"
    ),
    listen: Annotated[list[str] | None, Option(help="An address to listen on; repeatable.")] = None,
) -> None:
    """Print settings for postgresql.conf: encrypted connections, and passwords kept well."""
    from aegis.cli.render import line
    from aegis.security.roles.hba import tls_settings

    text = tls_settings(certificate=str(certificate), key=str(key), listen=listen or ())
    line(text.rstrip())


def _show(report: CheckReport, *, everything: bool) -> None:
    from aegis.cli.render import line, style, table

    shown = [f for f in report.checks if everything or f.verdict != "ok"]
    table(
        ["verdict", "check", "findings"],
        [[f.verdict, f.id, "; ".join(f.findings[:3])] for f in shown],
        wide="findings",
        empty="All is well.",
    )
    for found in shown:
        if found.verdict != "ok" and found.advice:
            line(f"{found.id}: {found.advice}")
    if report.mode == "single":
        line(
            "One role owns and uses this database. That is no error where only this program may "
            "reach it; `aegis security apply` makes a role for each purpose."
        )
    line(f"{style(report.verdict, _COLOUR[report.verdict], 'bold')}: {len(report.checks)} checks.")
