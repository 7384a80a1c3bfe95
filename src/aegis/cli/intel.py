"""`aegis intel`: competitors, which of their pages are watched, and what changed there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.intel_results import page_ids, show_pages
from aegis.cli.options import AsJson, Limit, Since, Until, Yes
from aegis.cli.running import confirm, maybe_time, with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis
    from aegis.intel.discovering import Discovered
    from aegis.intel.models import Change, Checked, Competitor, Page

__all__ = ["app"]

app = App(help="Competitors: which of their pages are watched, and what changed there.")

Who = Annotated[str, Argument(metavar="COMPETITOR", help="Its name, domain or id.")]
MaybeWho = Annotated[
    str | None, Option("--competitor", "-c", help="Of this one alone: its name, domain or id.")
]
Every = Annotated[str | None, Option(help="How often pages are checked, such as 12h or 7d.")]
Importance = Annotated[
    str | None, Option(help="At least so important: low, medium, high or critical.")
]


@app.add
def add(
    domain: Annotated[str, Argument(metavar="DOMAIN", help="Its domain, or an address on it.")],
    name: Annotated[str | None, Option(help="What it is called; the domain otherwise.")] = None,
    category: Annotated[str | None, Option(help="What kind of competitor it is.")] = None,
    every: Every = None,
    discover: Annotated[bool, Option(help="Look for its pages now.")] = True,
    as_json: AsJson = False,
) -> None:
    """Watch a competitor: its homepage, prices and features at once, other pages if chosen."""
    from aegis.cli.render import line, note, show_json

    async def work(client: Aegis) -> tuple[Competitor, Discovered | None, Sequence[Page]]:
        made, found = await client.intel.add(
            domain, name=name, category=category, every=every, discover=discover
        )
        return made, found, await client.intel.pages(str(made.id), limit=1_000)

    made, found, pages = with_client(work)
    if as_json:
        show_json({"competitor": made, "discovered": found, "pages": pages})
        return
    line(f"{made.name} ({made.domain}) is competitor {made.id}.")
    if found is None and discover:
        note(f"Its pages could not be looked for: {made.last_error} It is tried again later.")
    elif found is not None:
        line(f"{len(found.watched)} page(s) are watched, {len(found.proposed)} proposed.")
        show_pages(pages)


@app.add
def list_(as_json: AsJson = False) -> None:
    """List competitors."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Sequence[Competitor]:
        return await client.intel.list()

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "name", "domain", "watched", "proposed", "unseen", "checked", "trouble"],
        [
            [
                str(item["id"]),
                item["name"],
                item["domain"] + ("" if item["enabled"] else " (off)"),
                str(item["watched"]),
                str(item["proposed"]),
                str(item["unseen"]),
                when(item["last_checked_at"]),
                item["last_error"] or "",
            ]
            for item in items
        ],
        wide="trouble",
        empty="No competitor is watched; `aegis intel add DOMAIN` adds one.",
    )


@app.add
def pages(
    competitor: MaybeWho = None,
    state: Annotated[
        list[str] | None, Option(help="proposed, watched, ignored or gone; may be repeated.")
    ] = None,
    kind: Annotated[str | None, Option("--type", help="pricing, features, docs, …")] = None,
    discover: Annotated[bool, Option(help="Look for new pages first.")] = False,
    after: Annotated[int, Option(help="Id of the last of the page before.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List pages: those that are watched and those that were found."""
    from aegis.cli.render import show_json
    from aegis.errors import InvalidInput

    if discover and competitor is None:
        raise InvalidInput("--discover needs --competitor, whose pages to look for.")

    async def work(client: Aegis) -> Sequence[Page]:
        if discover and competitor is not None:
            await client.intel.discover(competitor)
        return await client.intel.pages(
            competitor, states=state or [], page_type=kind, after=after, limit=limit
        )

    found = with_client(work)
    if as_json:
        show_json({"items": found})
        return
    show_pages(found)


@app.add
def watch(
    competitor: Who,
    page: Annotated[
        list[str], Argument(metavar="PAGE…", help="Ids of its pages, or addresses.", rest=True)
    ],
) -> None:
    """Watch pages of a competitor, proposed or new; `set` says how."""
    from aegis.cli.render import line

    async def work(client: Aegis) -> list[str]:
        ids = [int(one) for one in page if one.isdecimal()]
        done = [str(one) for one in (await client.intel.choose(ids, "watched") if ids else [])]
        for one in page:
            if not one.isdecimal():
                done.append(str((await client.intel.watch(competitor, one)).id))
        return done

    done = with_client(work)
    line(f"Watched: {', '.join(done) or 'none'}.")


@app.add
def ignore(
    page: Annotated[list[str], Argument(metavar="PAGE…", help="Ids of pages.", rest=True)],
) -> None:
    """Watch pages no longer, and propose them no more."""
    from aegis.cli.render import line

    ids = page_ids("PAGE", page)
    done = with_client(lambda client: client.intel.choose(ids, "ignored"))
    line(f"Ignored: {', '.join(map(str, done)) or 'none'}.")


@app.add
def set_(
    page: Annotated[int, Argument(metavar="PAGE", help="Id of the page.")],
    kind: Annotated[str | None, Option("--type", help="pricing, features, docs, …")] = None,
    browser: Annotated[bool | None, Option("--browser/--http", help="What fetches it.")] = None,
    include: Annotated[
        list[str] | None, Option(help="CSS selector of what counts; may be repeated, '' for all.")
    ] = None,
    exclude: Annotated[
        list[str] | None, Option(help="CSS selector of what does not; '' for nothing.")
    ] = None,
    every: Every = None,
    as_json: AsJson = False,
) -> None:
    """Say how a page is fetched, how often, and what of it counts."""
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> Page:
        return await client.intel.configure_page(
            page,
            kind=kind,
            browser=browser,
            include=None if include is None else [one for one in include if one],
            exclude=None if exclude is None else [one for one in exclude if one],
            every=every,
        )

    found = with_client(work)
    if as_json:
        show_json(found)
    else:
        how = "a browser" if found.browser else "HTTP"
        line(f"Page {found.id} is fetched by {how}; it is checked again at once.")


@app.add
def check(
    competitor: MaybeWho = None,
    page: Annotated[int | None, Option(help="This page alone, by id.")] = None,
    everything: Annotated[bool, Option("--all", help="Also pages that are not due.")] = False,
    settle: Annotated[
        bool, Option(help="Wait, and fetch again until nothing is left to be confirmed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check pages now; `aegis up` and `aegis worker` do it by themselves."""
    from aegis.cli.render import line, note, show_json, style

    def show(done: Checked) -> None:
        colour = {"changed": "yellow", "failed": "red", "disallowed": "red"}.get(done.outcome)
        outcome = done.outcome.ljust(10)
        text = f"{style(outcome, colour) if colour else outcome} {done.url}"
        line(text + (f"  {done.detail}" if done.detail else ""))

    async def work(client: Aegis) -> Sequence[Checked]:
        return await client.intel.check(
            competitor,
            page_id=page,
            everything=everything or competitor is not None,
            settle=settle,
            progress=None if as_json else show,
        )

    found = with_client(work)
    if as_json:
        show_json({"items": found})
        return
    if not found:
        note("No page is due.")
    ids = [str(number) for done in found for number in done.changes]
    if ids:
        line(f"Changes: {', '.join(ids)}; `aegis intel diff ID` shows one.")


@app.add
def changes(
    competitor: MaybeWho = None,
    kind: Annotated[
        list[str] | None, Option("--type", help="price, content, new_page, …; may be repeated.")
    ] = None,
    importance: Importance = None,
    since: Since = None,
    until: Until = None,
    unseen: Annotated[bool, Option(help="Only those that nobody took note of.")] = False,
    before: Annotated[int | None, Option(help="Id of the last of the page before.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List changes, the newest first."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    begin, end = maybe_time("since", since), maybe_time("until", until)

    async def work(client: Aegis) -> Sequence[Change]:
        return await client.intel.changes(
            competitor,
            types=kind or [],
            importance=importance,
            since=begin,
            until=end,
            unseen=unseen,
            before=before,
            limit=limit,
        )

    items: list[dict[str, Any]] = plain(with_client(work))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "detected", "competitor", "page", "type", "importance", "what"],
        [
            [
                str(item["id"]),
                when(item["detected_at"]),
                item["competitor"] or "",
                item["page_type"] or "",
                item["change_type"] or "",
                item["importance"],
                item["summary"] or "",
            ]
            for item in items
        ],
        wide="what",
        empty="Nothing changed.",
    )


@app.add
def diff(
    change: Annotated[int, Argument(metavar="CHANGE", help="Id of the change.")],
    words: Annotated[bool, Option(help="Word by word instead of line by line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was and what is."""
    from aegis.cli.render import line, pairs, show_json, style
    from aegis.wire.plain import plain

    found = with_client(lambda client: client.intel.change(change))
    if as_json:
        show_json(found)
        return
    shown: dict[str, Any] = plain(found)
    names = ("competitor", "url", "change_type", "importance", "summary", "detected_at")
    pairs([(name, shown[name]) for name in names])
    pairs([("before", found.old_screenshot_url), ("after", found.new_screenshot_url)])
    line()
    for text in ((found.word_diff if words else found.diff) or "").splitlines():
        colour = {"+": "green", "-": "red"}.get(text[:1])
        line(style(text, colour) if colour and not words else text)


@app.add
def ack(
    change: Annotated[list[str], Argument(metavar="CHANGE…", help="Ids of changes.", rest=True)],
    competitor: MaybeWho = None,
) -> None:
    """Take note of changes, by id or all of a competitor."""
    from aegis.cli.render import line

    ids = page_ids("CHANGE", change)
    done = with_client(lambda client: client.intel.acknowledge(ids, competitor=competitor))
    line(f"{len(done)} change(s) taken note of.")


@app.add
def report(
    competitor: MaybeWho = None,
    days: Annotated[float, Option(help="Of the last so many days.")] = 7.0,
    importance: Importance = None,
    output: Annotated[Path | None, Option("--output", "-o", help="Write it to this file.")] = None,
) -> None:
    """Write what changed as Markdown."""
    from aegis.cli.render import line, note
    from aegis.errors import InvalidInput

    text = with_client(
        lambda client: client.intel.digest(days=days, competitor=competitor, importance=importance)
    )
    if output is None:
        line(text.rstrip())
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}.") from None
    note(f"Written to {output}.")


@app.add
def pause(competitor: Who) -> None:
    """Check a competitor's pages no longer; what is known stays."""
    _switch(competitor, enabled=False)


@app.add
def resume(competitor: Who) -> None:
    """Check a competitor's pages again."""
    _switch(competitor, enabled=True)


@app.add
def remove(competitor: Who, yes: Yes = False) -> None:
    """Delete a competitor with its pages, their snapshots and changes."""
    from aegis.cli.render import line

    found = with_client(lambda client: client.intel.competitor(competitor))
    confirm(
        f"{found.name} ({found.domain}) is deleted with {found.watched + found.proposed} pages "
        "and all their changes.",
        yes=yes,
    )
    gone = with_client(lambda client: client.intel.remove(str(found.id)))
    line(f"Deleted: {gone['pages']} page(s), {gone['changes']} change(s).")


def _switch(competitor: str, *, enabled: bool) -> None:
    from aegis.cli.render import line

    found = with_client(lambda client: client.intel.configure(competitor, enabled=enabled))
    line(f"{found.name} is {'checked' if found.enabled else 'paused'}.")
