"""`aegis alerts rules`: how long what has to last, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.alerts import Labels, duration, labels_of
from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App(help="Rules: how long what has to last, and who is told.")

RuleName = Annotated[str, Argument(metavar="NAME", help="Name of the rule.")]
Time = str | None


@app.add
def list_(as_json: AsJson = False) -> None:
    """List rules; of those that fit, the first one counts."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    items: Any = plain(with_client(lambda a: a.alerts.rules()))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["name", "source", "condition", "labels", "from", "hold", "clear", "escalate", "channels"],
        [
            [
                item["name"] + ("" if item["enabled"] else " (off)"),
                item["source"],
                item["condition"],
                ", ".join(f"{name}={value}" for name, value in item["labels"].items()),
                item["least_severity"],
                f"{item['hold_s']:g} s",
                f"{item['clear_s']:g} s",
                _escalation(item),
                ", ".join(item["channels"]) or "all",
            ]
            for item in items
        ],
        wide="channels",
        empty="There is no rule; built-in values count.",
    )


@app.add
def set(
    name: RuleName,
    source: Annotated[str | None, Option(help="Glob of who looks.")] = None,
    condition: Annotated[str | None, Option(help="Glob of ids of conditions.")] = None,
    label: Labels = None,
    priority: Annotated[int | None, Option(help="The highest that fits counts.")] = None,
    least: Annotated[str | None, Option(help="warning or critical.")] = None,
    hold: Annotated[Time, Option(help="How long it has to be bad, such as 5m.")] = None,
    clear: Annotated[Time, Option(help="How long it has to be good to be over.")] = None,
    unknown: Annotated[Time, Option(help="How long it may be unknown; 0 for ever.")] = None,
    channel: Annotated[list[str] | None, Option(help="Who is told; all otherwise.")] = None,
    escalate: Annotated[Time, Option(help="After how long untaken; 0 for never.")] = None,
    escalate_to: Annotated[list[str] | None, Option(help="Who is told then.")] = None,
    remind: Annotated[Time, Option(help="How often while untaken; 0 for never.")] = None,
    group: Annotated[Time, Option(help="How long the first of a group waits.")] = None,
    off: Annotated[bool, Option("--off", help="Keep it, but let it not count.")] = False,
) -> None:
    """Make a rule, or change what is given of one."""
    from dataclasses import replace

    from aegis.alerts.models import Rule
    from aegis.cli.render import line

    times = {
        "hold_s": hold,
        "clear_s": clear,
        "unknown_s": unknown,
        "escalate_s": escalate,
        "remind_s": remind,
        "group_s": group,
    }
    changes: dict[str, Any] = {
        field: duration(f"--{field[:-2]}", text)
        for field, text in times.items()
        if text is not None
    }
    given = {
        "source": source,
        "condition": condition,
        "labels": labels_of(label) if label else None,
        "priority": priority,
        "least_severity": least,
        "channels": channel,
        "escalate_to": escalate_to,
    }
    changes |= {field: value for field, value in given.items() if value is not None}

    async def work(client: Aegis) -> None:
        await client.alerts.channels.announce()
        known = {rule.name: rule for rule in await client.alerts.rules()}
        rule = known.get(name, Rule(name=name))
        await client.alerts.put_rule(replace(rule, **changes, enabled=not off))

    with_client(work)
    line(f"Rule {name} counts{' no more' if off else ''}.")


@app.add
def delete(name: RuleName) -> None:
    """Delete a rule."""
    from aegis.cli.render import line

    with_client(lambda a: a.alerts.delete_rule(name))
    line(f"Rule {name} is deleted.")


def _escalation(item: dict[str, Any]) -> str:
    if not item["escalate_s"]:
        return "never"
    return f"{item['escalate_s']:g} s to {', '.join(item['escalate_to']) or 'all'}"
