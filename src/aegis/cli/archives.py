"""`aegis memory archive …`: what was archived, whether it is whole, and bringing it back."""

from __future__ import annotations

from typing import Annotated

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Namespace, Since, Until
from aegis.cli.running import maybe_time, with_client

__all__ = ["app"]

app = App("What was forgotten and can come back.")


@app.add
def list_(
    memory: Annotated[int | None, Option(help="Archives that hold the memory of this id.")] = None,
    kind: Annotated[str | None, Option(help="episode or fact.")] = None,
    limit: Limit = 100,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List archives, the newest first."""
    from aegis.cli.render import show_json
    from aegis.cli.retention_results import show_archives
    from aegis.wire.plain import plain

    found = plain(
        with_client(
            lambda a: a.memory.archives.list(
                kind=kind,  # pyright: ignore[reportArgumentType]
                memory_id=memory,
                limit=limit,
            ),
            namespace=namespace,
        )
    )
    if as_json:
        show_json({"items": found})
    else:
        show_archives(found)


@app.add
def verify(
    archive: Annotated[int | None, Argument(metavar="[ID]")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Read one archive, or all, and say whether they are what was written; status 1 if not."""
    import click

    from aegis.cli.render import line, show_json

    checks = with_client(lambda a: a.memory.archives.verify(archive), namespace=namespace)
    if as_json:
        show_json({"items": checks})
    for check in checks if not as_json else ():
        line(f"Archive {check.id}: {'whole' if check.ok else check.problem} ({check.rows} rows)")
    if not as_json and not checks:
        line("There are no archives.")
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)


@app.add
def restore(
    archive: Annotated[int, Argument(metavar="ID")],
    memory: Annotated[
        list[int] | None, Option(help="Only the memory of this id; may be repeated.")
    ] = None,
    since: Since = None,
    until: Until = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Put an archive's memories back, with their ids and every field."""
    from aegis.cli.render import line, note, show_json

    back = with_client(
        lambda a: a.memory.archives.restore(
            archive,
            ids=memory or (),
            since=maybe_time("since", since),
            until=maybe_time("until", until),
        ),
        namespace=namespace,
    )
    if as_json:
        show_json(back)
    else:
        line(f"Restored {back.restored} memories of archive {archive}; {back.there} were back.")
        if back.left_out:
            note(
                f"{back.left_out} relations and the like were left out: what they lead to is not "
                "there. A relation comes back with its other end."
            )
