"""Important changes as alerts: one each, which lasts until somebody takes note of the change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.alerts.models import Condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.alerts.service import Alerts

__all__ = ["ChangeAlerts"]

_SOURCE = "intel"
_MOST_TITLE, _MOST_TEXT = 500, 2_000


class ChangeAlerts:
    """What `telling.Alerting` wants, on `aegis.alerts`."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    async def tell(
        self, *, key: str, severity: str, title: str, text: str, details: Mapping[str, Any]
    ) -> None:
        """Raise an alert; told again, it is the same one."""
        condition = Condition(
            id=key,
            source=_SOURCE,
            state="critical" if severity == "critical" else "warning",
            title=title[:_MOST_TITLE],
            observed=text[:_MOST_TEXT],
            advice=f"Look at it with `aegis intel diff {details['change_id']}`; "
            f"`aegis intel ack {details['change_id']}` ends this.",
            hold_s=0,
        )
        await self._alerts.observe(_SOURCE, [condition], lasting=True)

    async def over(self, keys: Sequence[str]) -> None:
        """End the alerts of changes that somebody took note of."""
        ended = [
            Condition(id=key, source=_SOURCE, state="ok", title="Somebody took note of it.")
            for key in keys
        ]
        if ended:
            await self._alerts.observe(_SOURCE, ended, lasting=True)
