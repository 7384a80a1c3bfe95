"""`aegis metrics rules`: limits by hand, beside the detector."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import with_client

__all__ = ["app"]

app = App(help="Limits by hand, beside the detector.")

RuleName = Annotated[str, Argument(metavar="NAME", help="Name of the rule.")]


@app.add
def list_(as_json: AsJson = False) -> None:
    """List the rules."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    items: Any = plain(with_client(lambda a: a.telemetry.rules()))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["name", "kind", "container", "metric", "limit", "for", "severity"],
        [
            [
                item["name"] + ("" if item["enabled"] else " (off)"),
                item["kind"],
                item["container"],
                "" if item["kind"] == "absence" else item["metric"],
                f"{'above' if item['above'] else 'below'} {item['value']:g}",
                f"{item['for_s']:g} s",
                item["severity"],
            ]
            for item in items
        ],
        wide="container",
        empty="There is no rule.",
    )


@app.add
def set(
    name: RuleName,
    kind: Annotated[str, Option(help="threshold, rate (a minute) or absence (seconds).")],
    value: Annotated[float, Option(help="The limit.")],
    metric: Annotated[str, Option(help="What is measured.")] = "cpu_percent",
    container: Annotated[str, Option(help="Glob of containers.")] = "*",
    below: Annotated[bool, Option("--below", help="Values below the limit are bad.")] = False,
    for_: Annotated[str, Option("--for", help="How long it has to last.")] = "60s",
    severity: Annotated[str, Option(help="warning or critical.")] = "warning",
    off: Annotated[bool, Option("--off", help="Keep it, but let it not count.")] = False,
) -> None:
    """Make a rule, or replace the one of this name."""
    from aegis.cli.alerts import duration
    from aegis.cli.render import line
    from aegis.metrics.models import MetricRule

    given: dict[str, Any] = {"kind": kind, "severity": severity}
    rule = MetricRule(
        name=name,
        value=value,
        metric=metric,
        container=container,
        above=not below,
        for_s=duration("--for", for_),
        enabled=not off,
        **given,
    )
    with_client(lambda a: a.telemetry.put_rule(rule))
    line(f"Rule {name} counts{' no more' if off else ''}.")


@app.add
def delete(name: RuleName) -> None:
    """Delete a rule, and end its alerts."""
    from aegis.cli.render import line

    with_client(lambda a: a.telemetry.delete_rule(name))
    line(f"Rule {name} is deleted.")
