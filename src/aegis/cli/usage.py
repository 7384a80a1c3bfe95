"""`aegis usage …`: calls that were metered, their sums, and the months they are kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Cursor, Limit, Since, Until, Yes
from aegis.cli.paging import show_page
from aegis.cli.running import confirm, maybe_time, with_client
from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.client import Aegis
    from aegis.usage import Recorded

__all__ = ["app"]

app = App("Usage of the API: what was called, by whom, how much, how fast.")

Customer = Annotated[str | None, Option("--customer", help="Of this customer.")]
KeyId = Annotated[str | None, Option("--key", help="Of this key, by its id.")]
Endpoint = Annotated[str | None, Option(help="Of this endpoint, such as /v1/things/{id}.")]
_CHUNK = 5_000
_MAX_LINE_CHARS = 100_000


@app.add
def show(
    customer_id: Customer = None,
    api_key_id: KeyId = None,
    endpoint: Endpoint = None,
    group: Annotated[str, Option(help="none, customer, key or endpoint.")] = "none",
    by: Annotated[str | None, Option(help="hour, day, month or all.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
) -> None:
    """Sum calls by time, the last 30 days if nothing is said."""
    filters: dict[str, Any] = {
        "since": maybe_time("since", since),
        "until": maybe_time("until", until),
        "granularity": by,
        "group": group,
        "customer_id": customer_id,
        "api_key_id": api_key_id,
        "endpoint": endpoint,
        "limit": limit,
    }
    _show(with_client(lambda a: a.usage.show(**filters)), as_json)


@app.add
def top(
    by: Annotated[str, Argument(metavar="WHAT", help="customer, key or endpoint.")] = "customer",
    order: Annotated[str, Option(help="calls, errors, tokens or cost_usd.")] = "calls",
    customer_id: Customer = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """List who, or what, was called most."""
    ranked: dict[str, Any] = {
        "by": by,
        "order": order,
        "customer_id": customer_id,
        "since": maybe_time("since", since),
        "until": maybe_time("until", until),
        "limit": limit,
    }
    _show(with_client(lambda a: a.usage.top(**ranked)), as_json)


@app.add
def events(
    customer_id: Customer = None,
    api_key_id: KeyId = None,
    endpoint: Endpoint = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List single calls, newest first."""
    from aegis.cli.usage_results import show_events
    from aegis.wire.cursor import EVENTS

    show_page(
        EVENTS,
        lambda a, before: a.usage.events(
            customer_id=customer_id,
            api_key_id=api_key_id,
            endpoint=endpoint,
            since=maybe_time("since", since),
            until=maybe_time("until", until),
            limit=limit,
            before=before,
        ),
        show_events, limit, cursor, as_json,
    )  # fmt: skip


@app.add
def import_(
    file: Annotated[
        str, Argument(metavar="FILE", help="An event a line, JSON; - is standard input.")
    ],
    partial: Annotated[
        bool, Option("--partial", help="Record what can be accepted, and name the rest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Record calls that were made elsewhere; running it again counts nothing twice.

    Without --partial, the first 5,000 lines with a bad one end it; those before are recorded.
    """
    from aegis.cli.render import line, note, show_json
    from aegis.usage import Recorded, Rejection

    async def work(client: Aegis) -> Recorded:
        recorded = duplicates = 0
        rejected: list[Rejection] = []
        for first, chunk in _chunks(file):
            try:
                done = await client.usage.record(chunk, partial=partial, source="import")
            except InvalidInput as error:
                where = f"In lines {first:,} to {first + len(chunk) - 1:,}, counted from there: "
                before = f" {recorded:,} events of the lines before are recorded."
                raise InvalidInput(where + error.message + before, code=error.code) from None
            recorded += done.recorded
            duplicates += done.duplicates
            rejected += [
                Rejection(line=r.line + first - 1, event_id=r.event_id, message=r.message)
                for r in done.rejected
            ]
        return Recorded(recorded=recorded, duplicates=duplicates, rejected=rejected)

    found = with_client(work)
    if as_json:
        show_json(found)
        return
    for bad in found.rejected:
        note(f"line {bad.line}: {bad.message}")
    line(
        f"Recorded {found.recorded:,} events; {found.duplicates:,} were known, "
        f"{len(found.rejected):,} refused."
    )


@app.add
def reconcile(
    month: Annotated[str | None, Option(help="Such as 2026-05; all otherwise.")] = None,
    fix: Annotated[bool, Option("--fix", help="Make sums that differ again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add events up again and compare them with the sums; status 1 if they differ."""
    import click

    from aegis.cli.render import show_json
    from aegis.cli.usage_results import show_reconciled
    from aegis.wire.plain import plain
    from aegis.wire.usage import parse_month

    found = with_client(lambda a: a.usage.reconcile(parse_month(month), fix=fix))
    if as_json:
        show_json(found)
    else:
        show_reconciled(plain(found))
    if found.differences and not found.fixed:
        raise click.exceptions.Exit(1)


@app.add
def partitions(
    keep: Annotated[
        bool, Option("--keep-house", help="Make months ahead; export and drop old ones.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """List the months in the database, and those in files; `aegis up` keeps house by itself."""
    from aegis.cli.render import show_json
    from aegis.cli.usage_results import show_partitions
    from aegis.wire.plain import plain

    if keep:
        confirm(
            "Months of events older than AEGIS_USAGE_KEEP_MONTHS will be exported to Parquet "
            "files and dropped from the database.",
            yes=yes,
        )

    async def work(client: Aegis) -> Any:
        if keep:
            await client.usage.partitions.keep_house()
        months = client.usage.partitions
        return {"items": await months.list(), "archives": await months.archives()}

    found = with_client(work)
    if as_json:
        show_json(found)
    else:
        show_partitions(plain(found))


@app.add
def export(
    month: Annotated[str, Argument(metavar="MONTH", help="Such as 2026-05.")],
    as_json: AsJson = False,
) -> None:
    """Write a month's events to a Parquet file, and leave them in the database."""
    from aegis.cli.render import line, show_json
    from aegis.wire.usage import parse_month

    of_month = parse_month(month)
    assert of_month is not None
    archive = with_client(lambda a: a.usage.partitions.export(of_month))
    if as_json:
        show_json(archive)
    else:
        line(f"Exported {archive.rows:,} events to {archive.path} (SHA-256 {archive.sha256}).")


def _show(report: Any, as_json: bool) -> None:
    from aegis.cli.render import show_json
    from aegis.cli.usage_results import show_report
    from aegis.wire.plain import plain

    if as_json:
        show_json(report)
    else:
        show_report(plain(report))


def _chunks(file: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield the number of the first line, and the lines' values (`InvalidInput`)."""
    import json
    import sys
    from contextlib import ExitStack
    from pathlib import Path

    with ExitStack() as stack:
        try:
            source = sys.stdin if file == "-" else stack.enter_context(Path(file).open("rb"))
            first, chunk = 1, list[Any]()
            for number, raw in enumerate(source, 1):
                text = raw if isinstance(raw, str) else raw.decode("utf-8")
                try:
                    if len(text) > _MAX_LINE_CHARS:
                        raise ValueError("it is longer than any event")
                    chunk.append(json.loads(text, parse_float=str))
                except (ValueError, RecursionError) as error:
                    raise InvalidInput(
                        f"Line {number:,} of {file} is not JSON: {error}. Correct it, and import "
                        "again: what was recorded is not counted twice."
                    ) from None
                if len(chunk) == _CHUNK:
                    yield first, chunk
                    first, chunk = number + 1, []
            if chunk:
                yield first, chunk
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{file} cannot be read: {error}.") from None
