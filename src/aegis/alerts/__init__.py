"""What people have to be told: conditions become alerts, alerts become messages.

Owns `alerts`, `alert_events`, `alert_rules`, `alert_silences`, `alert_channels` and
`alert_deliveries`. Invariants: a condition has one open alert at most, whoever observes it; a
change of state and the messages about it are one transaction; a message that was once due is
delivered at least once, or lies visible among the dead. Addresses of channels are secrets of the
settings and are in no table.

It stands below the domains: telemetry and operations feed it with `Condition`s.
"""

from aegis.alerts.models import Condition

__all__ = ["Condition"]
