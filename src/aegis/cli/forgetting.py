"""`aegis memory forget …`: what fades and expires, what is held, how long memories live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Namespace, Yes
from aegis.cli.running import confirm, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App("What is forgotten, when, and what is not.")

EpisodeId = Annotated[int, Argument(metavar="ID")]
Type = Annotated[str | None, Option("--type", help="Episodes of this type only.")]
OfImportance = Annotated[str | None, Option(help="Of this importance only.")]


@app.add
def plan(
    sample: Annotated[int, Option(help="How many to show, the most faded first.")] = 20,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show what `run` would archive and why, and what has expired; changes nothing."""
    from aegis.cli.render import show_json
    from aegis.cli.retention_results import show_plan
    from aegis.wire.plain import plain

    found = plain(
        with_client(lambda a: a.memory.retention.plan(sample=sample), namespace=namespace)
    )
    if as_json:
        show_json(found)
    else:
        show_plan(found)


@app.add
def run(
    limit: Annotated[int | None, Option(help="At most so many memories.")] = None,
    namespace: Namespace = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Archive the memories that have faded; `aegis memory archive restore` brings them back."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    if not yes:
        found = with_client(lambda a: a.memory.retention.plan(sample=1), namespace=namespace)
        confirm(f"{found.faded} memories of {found.namespace} will be archived.", yes=yes)
    with counting("Archiving") as seen:

        async def work(client: Aegis) -> Any:
            return await client.memory.retention.run(limit=limit, on_progress=seen)

        report = with_client(work, namespace=namespace)
    if as_json:
        show_json(report)
        return
    for archive in report.archives:
        line(f"Archive {archive.id}: {archive.rows} memories in {archive.path}")
    line(f"Archived {report.archived} memories of {report.namespace}.")


@app.add
def sweep(
    everywhere: Annotated[bool, Option(help="In every namespace.")] = False,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Delete or archive what has expired; `aegis up` does it by itself."""
    from aegis.cli.render import line, show_json

    report = with_client(
        lambda a: a.memory.retention.sweep(everywhere=everywhere), namespace=namespace
    )
    if as_json:
        show_json(report)
    else:
        line(f"Deleted {report.deleted} and archived {report.archived} expired memories.")


@app.add
def hold(
    episode: EpisodeId,
    reason: Annotated[str, Argument(help="Why, in a few words.")],
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Keep an episode, whatever fades or expires."""
    from aegis.cli.render import line, show_json

    held = with_client(lambda a: a.memory.retention.hold(episode, reason), namespace=namespace)
    if as_json:
        show_json(held)
    else:
        line(f"Episode {episode} is held.")


@app.add
def release(episode: EpisodeId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """End a hold."""
    from aegis.cli.render import line, show_json

    with_client(lambda a: a.memory.retention.release(episode), namespace=namespace)
    if as_json:
        show_json({"released": episode})
    else:
        line(f"Episode {episode} is held no longer.")


@app.add
def holds(limit: Limit = 100, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List what is held."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.retention.holds(limit=limit), namespace=namespace))
    if as_json:
        show_json({"items": found})
        return
    table(
        ["episode", "since", "reason"],
        [[str(h["episode_id"]), when(h["held_at"]), h["reason"]] for h in found],
        wide="reason",
        empty="Nothing is held.",
    )


@app.add
def keep(
    ttl: Annotated[str, Argument(help="How long they live: a number and s, m, h, d, w or y.")],
    event_type: Type = None,
    importance: OfImportance = None,
    action: Annotated[str, Option(help="What the sweep does then: delete or archive.")] = "delete",
    apply: Annotated[bool, Option(help="Also to what is there, from its recording on.")] = False,
    namespace: Namespace = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set how long memories of a kind live, counted from their recording."""
    from aegis.cli.render import line, show_json

    if apply:
        confirm("What is older than that expires at once.", yes=yes)
    policy, applied = with_client(
        lambda a: a.memory.retention.set_policy(
            ttl,
            event_type=event_type,
            importance=importance,  # pyright: ignore[reportArgumentType]
            action=action,  # pyright: ignore[reportArgumentType]
            apply=apply,
        ),
        namespace=namespace,
    )
    if as_json:
        show_json({"policy": policy, "applied": applied})
    else:
        line(f"Such memories of {policy.namespace} live {ttl}; set on {applied} that are there.")


@app.add
def policies(namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List how long which memories live."""
    from aegis.cli.render import show_json
    from aegis.cli.retention_results import show_policies
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.retention.policies(), namespace=namespace))
    if as_json:
        show_json({"items": found})
    else:
        show_policies(found)


@app.add
def unset(
    event_type: Type = None,
    importance: OfImportance = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remove a policy; what has an end by it keeps that."""
    from aegis.cli.render import line, show_json

    with_client(
        lambda a: a.memory.retention.remove_policy(
            event_type=event_type,
            importance=importance,  # pyright: ignore[reportArgumentType]
        ),
        namespace=namespace,
    )
    if as_json:
        show_json({"removed": True})
    else:
        line("Removed the policy.")
