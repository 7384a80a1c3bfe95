"""`aegis alerts channels|test|deliveries|send`: ways to people, and what is sent over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import Argument, Option
from aegis.cli.options import AsJson, Limit
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["channels", "deliveries", "send", "test"]


def channels(as_json: AsJson = False) -> None:
    """List the channels that any process has named, and how they fare."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        await client.alerts.channels.announce()
        return plain(await client.alerts.channels.list())

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
        return
    table(
        ["name", "kind", "address", "from", "quiet", "last sent", "failures", "error"],
        [
            [
                item["name"],
                item["kind"],
                item["shown"],
                item["least_severity"],
                item["quiet"] or "",
                when(item["sent_at"]),
                str(item["failures"]),
                item["last_error"] or "",
            ]
            for item in items
        ],
        wide="error",
        empty="There is no channel; AEGIS_ALERT_CHANNELS names them.",
    )


def test(
    channel: Annotated[str | None, Argument(help="Name of the channel; all otherwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message now, and say whether it arrived."""
    import click

    from aegis.alerts.work import Deliveries
    from aegis.cli.render import line, show_json, style
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        made = set(await client.alerts.channels.test(channel))
        await Deliveries(client.db, client.alerts.channels).deliver()
        found = await client.alerts.channels.deliveries(limit=1_000)
        return plain([one for one in found if one.id in made])

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
    else:
        for item in items:
            good = item["state"] == "sent"
            word = (
                style("arrived", "green") if good else style(item["last_error"] or "waits", "red")
            )
            line(f"{item['channel']}: {word}")
    if any(item["state"] != "sent" for item in items):
        raise click.exceptions.Exit(1)


def deliveries(
    state: Annotated[list[str] | None, Option(help="pending, sent or dead.")] = None,
    channel: Annotated[str | None, Option(help="To this channel alone.")] = None,
    retry: Annotated[
        bool, Option(help="Try dead ones again: all, those of --channel, or the one of --id.")
    ] = False,
    number: Annotated[int | None, Option("--id", help="With --retry: this message.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List messages: those that wait, were sent, or were given up."""
    from aegis.alerts.models import DELIVERY_STATES
    from aegis.cli.render import note, show_json, table, when
    from aegis.errors import InvalidInput
    from aegis.wire.plain import plain

    if number is not None and not retry:
        raise InvalidInput("--id names what to send again; add --retry.")

    async def work(client: Aegis) -> Any:
        if retry:
            count = await client.alerts.channels.retry(number, channel=channel)
            note(f"{count} message(s) will be tried again.")
        return plain(
            await client.alerts.channels.deliveries(
                states=state or DELIVERY_STATES, channel=channel, limit=limit
            )
        )

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "channel", "state", "due", "tries", "alerts", "error"],
        [
            [
                str(item["id"]),
                item["channel"],
                item["state"],
                when(item["sent_at"] or item["next_at"]),
                str(item["attempts"]),
                ", ".join(f"{e['alert_id']} {e['kind']}" for e in item["entries"][:5]),
                item["last_error"] or "",
            ]
            for item in items
        ],
        wide="error",
        empty="There is no message.",
    )


def send(as_json: AsJson = False) -> None:
    """See to what is due, and send it, without `aegis up`."""
    from aegis.alerts.work import Deliveries
    from aegis.cli.render import line, show_json

    async def work(client: Aegis) -> dict[str, int]:
        changed = await client.alerts.tick()
        tried = await Deliveries(client.db, client.alerts.channels).deliver()
        waiting = len(await client.alerts.channels.deliveries(states=["pending"], limit=1_000))
        return {"changed": changed, "tried": tried, "waiting": waiting}

    done = with_client(work)
    if as_json:
        show_json(done)
        return
    line(f"{done['tried']} message(s) tried, {done['waiting']} wait.")
