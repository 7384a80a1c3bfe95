"""`aegis security apply`: roles of the server, each with the least that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Option
from aegis.cli.options import AsJson, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.cli.command import App
    from aegis.security.roles.models import Applied, Kind, Step
    from aegis.security.roles.service import Roles

__all__ = ["add_to", "apply"]

Url = Annotated[
    str | None,
    Option(help="The database as an administrator; AEGIS_OWNER_URL, AEGIS_DATABASE_URL otherwise."),
]


def add_to(app: App) -> None:
    """Add these commands to the group."""
    app.add(apply)


def apply(
    url: Url = None,
    dry_run: Annotated[bool, Option(help="Print the statements and do nothing.")] = False,
    shared: Annotated[
        bool, Option(help="Other programs use this database: leave everybody the right to connect.")
    ] = False,
    rotate: Annotated[
        list[str] | None,
        Option(help="Make a new password: owner, app, readonly, monitor or backup; repeatable."),
    ] = None,
    show_passwords: Annotated[bool, Option(help="Print the passwords, too.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make the roles and give each what it needs: one transaction, which may be repeated."""
    import asyncio

    from aegis.cli.render import show_json
    from aegis.cli.running import confirm

    roles, kinds = _roles(url), _kinds(rotate)
    steps = asyncio.run(roles.plan(shared=shared))
    if dry_run:
        if as_json:
            show_json({"done": False, "steps": steps, "passwords": {}})
        else:
            _show_script(steps)
        return
    if steps or kinds:
        confirm(_as_plan(steps, kinds), yes=yes)
    applied = asyncio.run(roles.apply(shared=shared, rotate=kinds))
    if as_json:
        show_json({**_plain(applied), **({"shown": _shown(applied)} if show_passwords else {})})
        return
    _show_applied(applied, show_passwords=show_passwords)


def _roles(url: str | None) -> Roles:
    from aegis.config import load_settings
    from aegis.security.roles.service import Roles, address_of_admin

    settings = load_settings()
    return Roles(address_of_admin(settings, url), settings)


def _kinds(names: Sequence[str] | None) -> list[Kind]:
    from aegis.errors import InvalidInput
    from aegis.security.roles.models import KINDS

    known: dict[str, Kind] = {kind: kind for kind in KINDS if kind != "tenant"}
    found: list[Kind] = []
    for name in names or ():
        if name not in known:
            raise InvalidInput(f"--rotate is {name!r}; use one of {', '.join(known)}.")
        found.append(known[name])
    return found


def _as_plan(steps: Sequence[Step], rotate: Sequence[str]) -> str:
    lines = [f"  {step.what}" for step in steps]
    lines += [f"  make a new password for {kind}" for kind in rotate]
    return f"{len(lines)} steps, in one transaction:\n" + "\n".join(lines)


def _show_script(steps: Sequence[Step]) -> None:
    from aegis.cli.render import line

    line("BEGIN;")
    for step in steps:
        line(f"{step.statement};")
    line("COMMIT;")


def _plain(applied: Applied) -> dict[str, Any]:
    from aegis.wire.plain import plain

    return plain(applied)


def _shown(applied: Applied) -> dict[str, str]:
    from aegis.security.roles.passwords import read_file

    return {role: read_file(path) or "" for role, path in applied.passwords.items()}


def _show_applied(applied: Applied, *, show_passwords: bool) -> None:
    from aegis.cli.render import line, table

    if not applied.steps:
        line("Nothing to do: the server is as it should be.")
    else:
        line(f"Done: {len(applied.steps)} steps.")
    shown = _shown(applied) if show_passwords else {}
    table(
        ["role", "password", *(["shown"] if show_passwords else [])],
        [
            [role, str(path), *([shown[role]] if show_passwords else [])]
            for role, path in applied.passwords.items()
        ],
        wide="password",
        empty="No passwords are kept here.",
    )
