"""What is sent: written for somebody who is woken by it. Pure.

First what is wrong, since when, what was seen against what is normal, what to do. What is over
comes last. One alert is a message of five lines; many are a list, the worst first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.alerts.models import Alert, MessageKind

__all__ = ["Message", "entry_of", "render"]

#: Alerts that a message spells out; the rest is counted.
_MOST_SHOWN: Final = 20
_ORDER: Final = {"critical": 0, "warning": 1}
_WORDS: Final = {
    "fired": "",
    "worsened": "got worse: ",
    "escalated": "nobody took it on: ",
    "reminded": "still so: ",
    "recovered": "over: ",
    "test": "test: ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, for a subject line, as text, and as data."""

    #: The same in each attempt.
    delivery_id: str
    subject: str
    body: str
    #: `critical`, `warning`, or `ok` where everything in it is over.
    severity: str
    entries: Sequence[Mapping[str, Any]]

    def document(self) -> dict[str, Any]:
        """Return it as a webhook gets it."""
        return {
            "delivery_id": self.delivery_id,
            "severity": self.severity,
            "subject": self.subject,
            "text": self.body,
            "alerts": [dict(entry) for entry in self.entries],
        }


def entry_of(alert: Alert, kind: MessageKind, *, at: datetime) -> dict[str, Any]:
    """Return what a message tells of an alert, as it stands at `at`."""
    return {
        "alert_id": alert.id,
        "kind": kind,
        "at": at.isoformat(),
        "source": alert.source,
        "condition": alert.condition_id,
        "severity": alert.severity,
        "state": alert.state,
        "condition_state": alert.condition_state,
        "title": alert.title,
        "observed": alert.observed,
        "threshold": alert.threshold,
        "advice": alert.advice,
        "link": alert.link,
        "labels": dict(alert.labels),
        "began_at": alert.began_at.isoformat(),
        "over_at": None if alert.cleared_at is None else alert.cleared_at.isoformat(),
    }


def render(
    delivery_id: str,
    entries: Sequence[Mapping[str, Any]],
    *,
    host: str,
    held_back: bool = False,
) -> Message:
    """Return the message about `entries`; of an alert told twice in it, the last one counts.

    `held_back`: a quiet time is over, and this is what it held back.
    """
    last: dict[Any, Mapping[str, Any]] = {}
    for entry in entries:
        before = last.pop(entry["alert_id"], None)
        # "fired" and "worsened" in one message is one firing; what it was worst counts.
        if before is not None and before["kind"] == "fired" and entry["kind"] == "worsened":
            last[entry["alert_id"]] = {**entry, "kind": "fired"}
        else:
            last[entry["alert_id"]] = entry
    shown = sorted(
        last.values(),
        key=lambda entry: (entry["kind"] == "recovered", _ORDER.get(entry["severity"], 2)),
    )
    bad = [entry for entry in shown if entry["kind"] != "recovered"]
    worst = bad[0]["severity"] if bad else "ok"
    return Message(
        delivery_id=delivery_id,
        subject=_held(shown, bad, host) if held_back else _subject(shown, bad, worst, host),
        body=_body(shown),
        severity=worst,
        entries=shown,
    )


def _subject(
    shown: Sequence[Mapping[str, Any]], bad: Sequence[Mapping[str, Any]], worst: str, host: str
) -> str:
    head = {"critical": "CRITICAL", "warning": "warning", "ok": "OK"}.get(worst, worst)
    first = shown[0]
    more = len(bad or shown) - 1
    also = f" (and {more} more)" if more > 0 else ""
    return f"[{host}] {head}: {_WORDS.get(first['kind'], '')}{_line(first['title'])}{also}"


def _held(shown: Sequence[Mapping[str, Any]], bad: Sequence[Mapping[str, Any]], host: str) -> str:
    over = len(shown) - len(bad)
    first = f": {_line(bad[0]['title'])}" if bad else ""
    return f"[{host}] while it was quiet, {len(bad)} still so and {over} over{first}"


def _body(shown: Sequence[Mapping[str, Any]]) -> str:
    parts = ["\n".join(_lines(entry)) for entry in shown[:_MOST_SHOWN]]
    if len(shown) > _MOST_SHOWN:
        parts.append(f"… and {len(shown) - _MOST_SHOWN} more: aegis alerts list")
    return "\n\n".join(parts)


def _lines(entry: Mapping[str, Any]) -> list[str]:
    began, over = _time(entry["began_at"]), _time(entry["over_at"])
    title = f"{_WORDS.get(entry['kind'], '')}{_line(entry['title'])}"
    if entry["kind"] == "recovered":
        lines = [f"OK  {title}"]
        if began is not None and over is not None:
            lines.append(f"  lasted    {_span(over - began)}, until {_clock(over)}")
        return [*lines, f"  details   aegis alerts show {entry['alert_id']}"]
    lines = [f"{'CRITICAL' if entry['severity'] == 'critical' else 'warning'}  {title}"]
    at = _time(entry["at"])
    if began is not None:
        lasted = "" if at is None or at - began < timedelta(minutes=1) else f", {_span(at - began)}"
        lines.append(f"  since     {_clock(began)}{lasted}")
    if entry["condition_state"] == "unknown":
        lines.append("  observed  could not be found out")
    elif entry["observed"]:
        against = f"; limit {_line(entry['threshold'])}" if entry["threshold"] else ""
        lines.append(f"  observed  {_line(entry['observed'])}{against}")
    if entry["advice"]:
        lines.append(f"  do        {_line(entry['advice'])}")
    if entry["link"]:
        lines.append(f"  read      {_line(entry['link'])}")
    if entry["kind"] != "test":
        lines.append(f"  take it   aegis alerts ack {entry['alert_id']}")
    return lines


def _line(text: Any) -> str:
    """Return text on one line: what an observer quotes must not look like a line of ours."""
    return " ".join(str(text).split())


def _time(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _span(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 1:
        return "under a minute"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"
