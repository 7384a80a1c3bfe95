"""`AEGIS_HEALTH_THRESHOLDS` and `AEGIS_HEALTH_MUTE`: what the operator says of each check.

`connections=70/85,unused-indexes=warning@50,hba-trust=critical,slow-log=off`: numbers are from
where on there is a warning and from where on it is critical, `@` how large something must be to
count, a word what findings are, and `off` leaves a check out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.ops.health.models import Check, Limits

__all__ = ["limits_of", "muted_keys"]

_NUMBER = r"\d+(?:\.\d+)?"
_VALUE = re.compile(
    rf"(?:(?P<level>warning|critical|off)|(?P<warning>{_NUMBER}|-)?(?:/(?P<critical>{_NUMBER}|-))?)"
    rf"(?:@(?P<least>{_NUMBER}))?"
)


def limits_of(text: str | None, checks: Sequence[Check]) -> Mapping[str, Limits | None]:
    """Return the limits of each check by its id, None for one that is left out.

    Raises:
        ConfigError: a part names no check, or says nothing that the check knows.
    """
    limits: dict[str, Limits | None] = {check.id: check.limits for check in checks}
    known = {check.id: check for check in checks}
    for part in filter(None, (piece.strip() for piece in (text or "").split(","))):
        name, _, value = part.partition("=")
        check = known.get(name.strip())
        if check is None:
            raise ConfigError(
                f"AEGIS_HEALTH_THRESHOLDS names {name.strip()!r}, which is no check; "
                "`aegis doctor` lists them."
            )
        limits[check.id] = _parse(check, value.strip())
    return limits


def muted_keys(text: str | None, checks: Sequence[Check]) -> frozenset[str]:
    """Return the keys that are muted: of a check, `id`, or of one thing, `id:object`.

    Raises:
        ConfigError: a part names no check.
    """
    known = {check.id for check in checks}
    parts = [piece.strip() for piece in (text or "").split(",") if piece.strip()]
    for part in parts:
        if part.partition(":")[0] not in known:
            raise ConfigError(
                f"AEGIS_HEALTH_MUTE names {part!r}; use the id of a check, or id:object."
            )
    return frozenset(parts)


def _parse(check: Check, value: str) -> Limits | None:
    match = _VALUE.fullmatch(value)
    if match is None or not value:
        raise _wrong(check, value)
    level, least = match["level"], match["least"]
    if level == "off":
        return None
    numbers = check.limits.warning is not None or check.limits.critical is not None
    if least is not None and not check.least_of:
        raise _wrong(check, value)
    limits = check.limits if least is None else replace(check.limits, least=float(least))
    if level is not None:
        if numbers:
            raise _wrong(check, value)
        return replace(limits, level="critical" if level == "critical" else "warning")
    if match["warning"] is None and match["critical"] is None:
        return limits
    if not numbers:
        raise _wrong(check, value)
    limits = replace(limits, warning=_number(match["warning"], limits.warning))
    limits = replace(limits, critical=_number(match["critical"], limits.critical))
    low, high = limits.warning, limits.critical
    if low is not None and high is not None and (high > low if check.below else high < low):
        raise ConfigError(
            f"AEGIS_HEALTH_THRESHOLDS has {check.id}={value}: critical ({high:g}) must be at least "
            f"as bad as the warning ({low:g})."
        )
    return limits


def _number(text: str | None, otherwise: float | None) -> float | None:
    if text is None:
        return otherwise
    return None if text == "-" else float(text)


def _wrong(check: Check, value: str) -> ConfigError:
    numbers = check.limits.warning is not None or check.limits.critical is not None
    form = "WARNING/CRITICAL, such as 80/90, - for none" if numbers else "warning or critical"
    least = ", then @LEAST" if check.least_of else ""
    return ConfigError(
        f"AEGIS_HEALTH_THRESHOLDS has {check.id}={value}; use {form}{least}, or off."
    )
