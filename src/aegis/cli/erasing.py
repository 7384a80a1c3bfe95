"""`aegis memory erase`: delete everything about a subject, and prove it."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import Argument, Option
from aegis.cli.options import AsJson, Yes
from aegis.cli.running import confirm, with_client
from aegis.errors import InvalidInput

__all__ = ["erase"]

#: Long for a person at a terminal: tables are written anew.
_STAGES = {
    "rows": "Deleting rows",
    "archives": "Rewriting archives",
    "logs": "Blacking out log lines",
    "pages": "Writing tables anew",
    "verification": "Searching again",
}


def erase(
    action: Annotated[
        str | None, Argument(metavar="[verify|list]", help="Look at earlier ones instead.")
    ] = None,
    erasure: Annotated[int | None, Argument(metavar="[ID]", help="Which one to verify.")] = None,
    subject: Annotated[str | None, Option(help="Whom or what to erase, by name.")] = None,
    alias: Annotated[list[str] | None, Option(help="Another name; may be repeated.")] = None,
    namespace: Annotated[str | None, Option(help="Only in this one; everywhere otherwise.")] = None,
    actor: Annotated[str | None, Option(help="Who asks for it; stands in the proof.")] = None,
    rewrite: Annotated[bool, Option(help="Write the touched tables anew; locks them.")] = True,
    plan: Annotated[bool, Option(help="Show what would be deleted, and stop.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete everything about a subject for ever: rows, archives, log lines, bytes on the disk."""
    if action == "list":
        _list(as_json=as_json)
    elif action == "verify":
        _verify(erasure, subject, alias or [], as_json=as_json)
    elif action is not None:
        raise InvalidInput(f"{action!r} is not known here; use verify or list, or none.")
    elif subject is None:
        raise InvalidInput("There is no subject; name it with --subject.")
    elif plan:
        _plan(subject, alias or [], namespace, as_json=as_json)
    else:
        names = alias or []
        if not yes:
            _plan(subject, names, namespace, as_json=False)
            confirm("All of this will be deleted for ever.", yes=yes)
        _erase(subject, names, namespace, actor, rewrite=rewrite, as_json=as_json)


def _plan(subject: str, names: list[str], namespace: str | None, *, as_json: bool) -> None:
    from aegis.cli.render import show_json
    from aegis.cli.retention_results import show_erasure_plan
    from aegis.wire.plain import plain

    found = with_client(
        lambda a: a.memory.erasures.plan(subject, aliases=names, namespace=namespace)
    )
    if as_json:
        show_json(found)
    else:
        show_erasure_plan(plain(found))


def _erase(
    subject: str,
    names: list[str],
    namespace: str | None,
    actor: str | None,
    *,
    rewrite: bool,
    as_json: bool,
) -> None:
    import sys

    from aegis.cli.render import note, show_json
    from aegis.cli.retention_results import show_erasure
    from aegis.wire.plain import plain

    def tell(stage: str) -> None:
        if sys.stderr.isatty():
            note(f"{_STAGES[stage]} …")

    proof = with_client(
        lambda a: a.memory.erasures.run(
            subject,
            aliases=names,
            namespace=namespace,
            actor=actor,
            rewrite=rewrite,
            on_stage=tell,
        )
    )
    if as_json:
        show_json(proof)
    else:
        show_erasure(plain(proof))


def _list(*, as_json: bool) -> None:
    from aegis.cli.render import show_json
    from aegis.cli.retention_results import show_erasures
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.erasures.list()))
    if as_json:
        show_json({"items": found})
    else:
        show_erasures(found)


def _verify(erasure: int | None, subject: str | None, names: list[str], *, as_json: bool) -> None:
    import click

    from aegis.cli.render import line, show_json

    if erasure is None:
        raise InvalidInput("Which erasure? Give its number, such as `aegis memory erase verify 1`.")
    check: Any = with_client(
        lambda a: a.memory.erasures.verify(erasure, subject=subject, aliases=names)
    )
    if as_json:
        show_json(check)
    else:
        line(f"Erasure {erasure}: the record is {'as' if check.signature_ok else 'NOT as'} signed.")
        for table, rows in {**check.came_back, **check.found}.items():
            line(f"{table}: {rows} rows are there again.")
        if check.ok:
            searched = "and no text names the subject" if check.searched else "texts unsearched"
            line(f"Nothing of what was deleted is there, {searched}.")
    if not check.ok:
        raise click.exceptions.Exit(1)
