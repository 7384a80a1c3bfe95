"""`aegis alerts`: what is wrong, who is told, and what they do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Limit, Until
from aegis.cli.running import maybe_time, with_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.alerts.models import Alert, Silence
    from aegis.client import Aegis

__all__ = ["app"]

app = App(help="Alerts: what is wrong, who is told, what is done about it.")

AlertId = Annotated[int, Argument(metavar="ID", help="Number of the alert.")]
By = Annotated[str | None, Option(help="Who does it; the login name otherwise.")]
Labels = Annotated[
    list[str] | None, Option("--label", "-l", help="NAME=GLOB; may be repeated.", metavar="LABEL")
]


@app.add
def list_(
    all_: Annotated[bool, Option("--all", help="Those that are over, too.")] = False,
    source: Annotated[str | None, Option(help="Of this source alone.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List alerts, the newest first."""
    from aegis.alerts.models import ALERT_STATES
    from aegis.alerts.service import OPEN
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    states = ALERT_STATES if all_ else OPEN

    async def work(client: Aegis) -> Any:
        return plain(await client.alerts.list(states=states, source=source, limit=limit))

    items: list[dict[str, Any]] = with_client(work)
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "severity", "state", "since", "observed", "limit", "what"],
        [
            [
                str(item["id"]),
                item["severity"],
                _state(item),
                when(item["began_at"]),
                item["observed"] or "",
                item["threshold"] or "",
                item["title"],
            ]
            for item in items
        ],
        wide="what",
        empty="Nothing is wrong.",
    )


@app.add
def show(alert_id: AlertId, as_json: AsJson = False) -> None:
    """Show an alert and what happened to it."""
    from aegis.cli.render import pairs, show_json, when
    from aegis.wire.plain import plain

    async def work(client: Aegis) -> Any:
        alert = await client.alerts.get(alert_id)
        return plain({"alert": alert, "events": await client.alerts.history(alert_id)})

    found: dict[str, Any] = with_client(work)
    if as_json:
        show_json(found)
        return
    alert = found["alert"]
    labels = ", ".join(f"{name}={value}" for name, value in alert["labels"].items())
    pairs(
        [
            ("alert", str(alert["id"])),
            ("what", alert["title"]),
            ("severity", alert["severity"]),
            ("state", _state(alert)),
            ("observed", alert["observed"]),
            ("limit", alert["threshold"]),
            ("do", alert["advice"]),
            ("read", alert["link"]),
            ("since", when(alert["began_at"])),
            ("fired", when(alert["fired_at"]) or None),
            ("told", when(alert["told_at"]) or None),
            ("over", when(alert["resolved_at"]) or None),
            ("taken by", alert["acknowledged_by"]),
            ("note", alert["note"]),
            ("source", f"{alert['source']} {alert['condition_id']}"),
            ("labels", labels or None),
            ("rule", alert["rule"]),
        ]
    )
    _show_events(found["events"])


@app.add
def ack(
    alert_id: AlertId,
    note: Annotated[str | None, Option(help="What is known or done.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take an alert on: nobody is told again until it gets worse or is over."""
    _change(lambda a: a.alerts.acknowledge(alert_id, by=by or _me(), note=note), as_json)


@app.add
def false(
    alert_id: AlertId,
    note: Annotated[str | None, Option(help="Why it was none.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that an alert was none; the same is not told again for two weeks."""
    _change(lambda a: a.alerts.mark_false(alert_id, by=by or _me(), note=note), as_json)


@app.add
def silence(
    source: Annotated[str, Option(help="Glob of who looks.")] = "*",
    condition: Annotated[str, Option(help="Glob of ids of conditions.")] = "*",
    label: Labels = None,
    for_: Annotated[str | None, Option("--for", help="How long, such as 2h or 1d.")] = None,
    until: Until = None,
    reason: Annotated[str | None, Option(help="Why.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of some alerts for a time; they are listed all the same."""
    from aegis.cli.render import line, show_json, when
    from aegis.errors import InvalidInput
    from aegis.wire.plain import plain

    seconds = None if for_ is None else duration("--for", for_)
    end = maybe_time("until", until)
    if (seconds is None) == (end is None):
        raise InvalidInput("Say how long: either --for 2h, or --until with a time.")
    labels = labels_of(label)

    async def work(client: Aegis) -> Silence:
        return await client.alerts.silence(
            source=source,
            condition=condition,
            labels=labels,
            until=end,
            seconds=seconds,
            reason=reason,
            by=by or _me(),
        )

    made = plain(with_client(work))
    if as_json:
        show_json(made)
        return
    line(f"Silence {made['id']} until {when(made['until'][:19] + '+00:00')}.")


@app.add
def unsilence(
    silence_id: Annotated[int, Argument(metavar="ID", help="Number of the silence.")],
) -> None:
    """End a silence; what still fires is told then."""
    from aegis.cli.render import line

    with_client(lambda a: a.alerts.unsilence(silence_id))
    line(f"Silence {silence_id} is over.")


@app.add
def silences(
    all_: Annotated[bool, Option("--all", help="Those that are over, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List silences."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    items: Any = plain(with_client(lambda a: a.alerts.silences(ended=all_)))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["id", "until", "source", "condition", "labels", "by", "reason"],
        [
            [
                str(item["id"]),
                when(item["ended_at"] or item["until"]),
                item["source"],
                item["condition"],
                ", ".join(f"{name}={value}" for name, value in item["labels"].items()),
                item["created_by"] or "",
                item["reason"] or "",
            ]
            for item in items
        ],
        wide="reason",
        empty="Nothing is silenced.",
    )


@app.add
def history(
    alert_id: Annotated[int | None, Argument(metavar="ID", help="Of one alert.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Show what happened, the newest first."""
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    events: Any = plain(with_client(lambda a: a.alerts.history(alert_id, limit=limit)))
    if as_json:
        show_json({"items": events})
        return
    _show_events(events)


app.add_later("rules", "aegis.cli.alert_rules:app")
app.add_later("channels", "aegis.cli.alert_channels:channels")
app.add_later("test", "aegis.cli.alert_channels:test")
app.add_later("deliveries", "aegis.cli.alert_channels:deliveries")
app.add_later("send", "aegis.cli.alert_channels:send")


def labels_of(given: Sequence[str] | None) -> dict[str, str]:
    """Return the labels that options hold (`InvalidInput`)."""
    from aegis.errors import InvalidInput

    labels: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"--label is {text!r}; write NAME=GLOB.")
        labels[name] = value
    return labels


def duration(name: str, text: str) -> float:
    """Return the seconds that a text such as 90, 30s, 5m, 2h or 1d says (`InvalidInput`)."""
    from aegis.errors import InvalidInput

    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value <= 366 * 86_400:
        raise InvalidInput(f"{name} is {text!r}; write seconds, or 30s, 5m, 2h, 1d.")
    return value


def _change(work: Callable[[Aegis], Awaitable[Alert]], as_json: bool) -> None:
    from aegis.cli.render import line, show_json
    from aegis.wire.plain import plain

    alert: dict[str, Any] = plain(with_client(work))
    if as_json:
        show_json(alert)
        return
    line(f"Alert {alert['id']} ({alert['title']}): {_state(alert)}.")


def _state(alert: dict[str, Any]) -> str:
    if alert["marked_false_at"]:
        return "false"
    if alert["state"] == "firing" and alert["acknowledged_at"]:
        return "acknowledged"
    return alert["state"]


def _show_events(events: Sequence[dict[str, Any]]) -> None:
    from aegis.cli.render import table

    table(
        ["at", "alert", "what", "by", "more"],
        [
            [
                f"{event['at'][:19]}Z",
                str(event["alert_id"]),
                event["kind"],
                event["by"] or "",
                event["text"] or "",
            ]
            for event in events
        ],
        wide="more",
        empty="Nothing happened.",
    )


def _me() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
