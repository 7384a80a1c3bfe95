"""`aegis memory consolidate`, and `aegis memory proposals …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Namespace
from aegis.cli.paging import show_page
from aegis.cli.running import maybe_time, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.memory.consolidation.run import Consolidated

__all__ = ["app", "consolidate"]

app = App("What consolidation proposes: accept, reject, undo.")

ProposalId = Annotated[int, Argument(metavar="ID")]
#: Who did it, in the history.
_ACTOR = "cli"


def consolidate(
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would be proposed.")] = False,
    since: Annotated[
        str | None, Option(help="Look at all from this time on, seen before or not.")
    ] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Propose facts and patterns that like episodes have in common; no episode is changed."""
    from aegis.cli.progress import counting
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    with counting("Consolidating") as seen:

        async def work(client: Aegis) -> Consolidated:
            return await client.memory.consolidation.run(
                dry_run=dry_run, since=maybe_time("since", since), on_progress=seen
            )

        done = plain(with_client(work, namespace=namespace))
    if as_json:
        show_json(done)
    else:
        _show_run(done)


@app.add
def list_(
    state: Annotated[
        str, Option(help="proposed, accepted, rejected, undone, or all.")
    ] = "proposed",
    limit: Limit = 20,
    cursor: Cursor = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List proposals, the oldest first."""
    from aegis.wire.cursor import BY_ID

    chosen: Any = None if state == "all" else state
    show_page(
        BY_ID,
        lambda a, after: a.memory.consolidation.proposals(state=chosen, limit=limit, after=after),
        _show_list, limit, cursor, as_json, namespace=namespace,
    )  # fmt: skip


def _show_list(page: dict[str, Any]) -> None:
    from aegis.cli.render import clip, table

    table(
        ["id", "kind", "score", "seen", "state", "proposal"],
        [
            [
                str(p["id"]),
                p["kind"],
                f"{p['score']:.2f}",
                str(p["seen"]),
                p["state"],
                clip(f"{p['concept']}: {p['content']}", 400),
            ]
            for p in page["items"]
        ],
        wide="proposal",
        empty="No proposal.",
    )


@app.add
def get(proposal: ProposalId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show one proposal with the ids of its episodes."""
    from aegis.cli.render import pairs, show_json
    from aegis.wire.plain import plain

    found = plain(with_client(lambda a: a.memory.consolidation.get(proposal), namespace=namespace))
    if as_json:
        show_json(found)
    else:
        pairs(list(found.items()))


@app.add
def accept(proposal: ProposalId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Make a fact of a proposal; `undo` takes exactly that back."""
    decided = with_client(
        lambda a: a.memory.consolidation.accept(proposal, actor=_ACTOR), namespace=namespace
    )
    _show_decided(decided, f"Accepted proposal {proposal} as fact {decided.fact_id}.", as_json)


@app.add
def reject(proposal: ProposalId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Refuse a proposal; it comes back only with twice the evidence."""
    decided = with_client(
        lambda a: a.memory.consolidation.reject(proposal, actor=_ACTOR), namespace=namespace
    )
    _show_decided(decided, f"Rejected proposal {proposal}.", as_json)


@app.add
def undo(proposal: ProposalId, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Take back what accepting a proposal did to facts."""
    decided = with_client(
        lambda a: a.memory.consolidation.undo(proposal, actor=_ACTOR), namespace=namespace
    )
    _show_decided(decided, f"Took back proposal {proposal}.", as_json)


def _show_decided(decided: Any, said: str, as_json: bool) -> None:
    from aegis.cli.render import line, show_json

    if as_json:
        show_json(decided)
    else:
        line(said)


def _show_run(done: dict[str, Any]) -> None:
    from aegis.cli.render import clip, line, note, style

    line(f"{done['episodes']:,} new episodes in {done['namespace']}, {done['groups']} groups")
    for draft in done["drafts"]:
        text = clip(f"{draft['concept']}: {draft['content']}", 160)
        line(f"  {style(draft['kind'], 'bold')} {draft['score']:.2f}  {text}")
    if done["dry_run"]:
        line(f"{len(done['drafts'])} would be proposed or get more evidence; nothing was written.")
    else:
        made, grown, accepted = (len(done[n]) for n in ("proposed", "grown", "accepted"))
        line(f"Proposed {made}, {grown} got more evidence, {accepted} accepted by themselves.")
        if made > accepted:
            line("See them with aegis memory proposals list.")
    for text in done["notes"]:
        note(text)
