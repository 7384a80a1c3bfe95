"""Which rule counts for a condition, and whether a silence fits it. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from aegis.alerts.models import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from aegis.alerts.models import Severity, Silence

__all__ = ["FALLBACK", "choose_rule", "find_silence", "fits", "is_severe"]

#: What counts where no rule fits, for somebody may have deleted all of them.
FALLBACK: Final = Rule(name="fallback")


def fits(
    *,
    source: str,
    condition: str,
    labels: Mapping[str, str],
    about: tuple[str, str, Mapping[str, str]],
) -> bool:
    """Return whether these globs fit `about`: source, id and labels of a condition."""
    of, name, has = about
    return (
        fnmatchcase(of, source)
        and fnmatchcase(name, condition)
        and all(
            label in has and fnmatchcase(has[label], pattern) for label, pattern in labels.items()
        )
    )


def choose_rule(rules: Iterable[Rule], about: tuple[str, str, Mapping[str, str]]) -> Rule:
    """Return the rule that counts: of those that fit, the highest priority, then the name.

    The rule `default` comes after all others of its priority.
    """
    fitting = [
        rule
        for rule in rules
        if rule.enabled
        and fits(source=rule.source, condition=rule.condition, labels=rule.labels, about=about)
    ]
    return min(
        fitting,
        key=lambda rule: (-rule.priority, rule.name == "default", rule.name),
        default=FALLBACK,
    )


def find_silence(
    silences: Iterable[Silence], about: tuple[str, str, Mapping[str, str]], *, now: datetime
) -> Silence | None:
    """Return the silence that fits and ends last, if there is one."""
    return max(
        (
            silence
            for silence in silences
            if silence.ended_at is None
            and silence.until > now
            and fits(
                source=silence.source,
                condition=silence.condition,
                labels=silence.labels,
                about=about,
            )
        ),
        key=lambda silence: silence.until,
        default=None,
    )


def is_severe(severity: str, least: Severity) -> bool:
    """Return whether `severity` is at least `least`; what is neither counts as less."""
    return severity == "critical" or (severity == "warning" and least == "warning")
