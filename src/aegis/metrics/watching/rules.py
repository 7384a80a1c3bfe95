"""Rules by hand: a limit, a change, or silence, for the containers that a glob fits. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from aegis.alerts.models import Condition
from aegis.errors import InvalidInput
from aegis.metrics.models import METRICS, RULE_KINDS
from aegis.metrics.watching.finding import SOURCE, UNITS, short, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aegis.metrics.models import MetricRule
    from aegis.metrics.watching.series import Container

__all__ = ["check_rule", "condition_of", "evaluate", "ids", "prefix_of"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_S: Final = 30 * 86_400.0


def check_rule(rule: MetricRule) -> None:
    """Return if this may be a rule (`InvalidInput`)."""
    if not _NAME.fullmatch(rule.name):
        raise InvalidInput(
            f"name of a rule is {rule.name[:70]!r}; use letters, digits, '_', '.', '-'."
        )
    if rule.kind not in RULE_KINDS:
        raise InvalidInput(f"kind is {rule.kind!r}; use {', '.join(RULE_KINDS)}.")
    if rule.kind != "absence" and rule.metric not in METRICS:
        raise InvalidInput(f"metric is {rule.metric!r}; use one of {', '.join(METRICS)}.")
    if not math.isfinite(rule.value) or abs(rule.value) > 1e15:
        raise InvalidInput(f"value is {rule.value:g}; give a number.")
    if rule.kind == "absence" and not 10 <= rule.value <= _LONGEST_S:
        raise InvalidInput(f"value is {rule.value:g}; silence is 10 seconds or more.")
    if not (math.isfinite(rule.for_s) and 0 <= rule.for_s <= _LONGEST_S):
        raise InvalidInput(f"for_s is {rule.for_s:g}; it is 0 to {_LONGEST_S:,.0f} seconds.")
    if rule.severity not in ("warning", "critical"):
        raise InvalidInput(f"severity is {rule.severity!r}; use warning or critical.")
    if not 0 < len(rule.container) <= 200:
        raise InvalidInput("container is a glob of 1 to 200 characters, such as web-*.")


def prefix_of(rule_name: str) -> str:
    """Return how the ids of a rule's conditions begin."""
    return f"rule:{rule_name}:"


def evaluate(
    rules: Iterable[MetricRule],
    containers: Iterable[Container],
    *,
    now: float,
    measured: bool | None,
) -> list[Condition]:
    """Return how every container stands to every rule that fits it and can be told.

    A value that is not measured any more is unknown to a limit, neither good nor bad; one that
    never was is no business of the rule. A silent container is that of absence rules alone: for
    others it stays as it stood, until the container is gone and nothing is wrong with it any more.
    Where nothing at all is `measured`, none is gone; where that is not known, none is missed.
    """
    known = list(containers)
    found = [
        condition_of(rule, container, now=now, measured=measured)
        for rule in rules
        if rule.enabled
        for container in known
        if fnmatchcase(container.name, rule.container)
    ]
    return [condition for condition in found if condition is not None]


def ids(rules: Iterable[MetricRule], containers: Iterable[Container]) -> set[str]:
    """Return the ids of all conditions that `evaluate` may speak of."""
    known = list(containers)
    return {
        _id(rule, container)
        for rule in rules
        if rule.enabled
        for container in known
        if fnmatchcase(container.name, rule.container)
    }


def condition_of(
    rule: MetricRule, container: Container, *, now: float, measured: bool | None = True
) -> Condition | None:
    """Return how a container stands to a rule; None where there is nothing to say."""
    gone = False
    if rule.kind == "absence":
        if measured is None:
            return None
    elif container.is_silent(now):
        gone = measured is True and container.is_gone(now)
        if not gone:
            return None
    if rule.kind != "absence" and not container.knows(rule.metric):
        return None
    word, unit = UNITS.get(rule.metric, (rule.metric, ""))
    side = "above" if rule.above else "below"
    name = shown(container.name)
    if rule.kind == "absence":
        value: float | None = max(0.0, now - container.last_at)
        what, unit, side = "no measurement", " s", "after"
        bad = value > rule.value
    elif rule.kind == "rate":
        value = _change(rule, container)
        what, unit = f"{word} changes", f"{unit} a minute"
        bad = value is not None and _beyond(rule, value)
    else:
        value = container.values.get(rule.metric)
        what = f"{word} {side} {short(rule.value)}{unit}"
        bad = value is not None and _beyond(rule, value)
    return Condition(
        id=_id(rule, container),
        source=SOURCE,
        state="ok" if gone else "unknown" if value is None else rule.severity if bad else "ok",
        title=f"{name}: {what} (rule {rule.name})",
        observed=None if value is None else f"{short(value)}{unit}",
        threshold=f"{side} {short(rule.value)}{unit}",
        advice=f"See its curve: aegis metrics chart {name} --metric {rule.metric}",
        labels={"container": name, "metric": rule.metric, "rule": rule.name},
        since=datetime.fromtimestamp(now if rule.kind == "absence" else container.last_at, UTC),
        hold_s=rule.for_s,
        group=SOURCE,
    )


def _id(rule: MetricRule, container: Container) -> str:
    return f"{prefix_of(rule.name)}{shown(container.name)}"


def _change(rule: MetricRule, container: Container) -> float | None:
    now, before = container.values.get(rule.metric), container.before.get(rule.metric)
    if now is None or before is None or container.step_s <= 0:
        return None
    return 60 * (now - before) / container.step_s


def _beyond(rule: MetricRule, value: float) -> bool:
    return value > rule.value if rule.above else value < rule.value
