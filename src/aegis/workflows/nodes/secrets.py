"""Secrets in headers: `${secret:NAME}` is replaced where a request leaves, and nowhere else.

What is stored, shown and recorded is the reference. A secret is the environment's
`AEGIS_SECRET_NAME` or the file `secrets/NAME` in the data folder; `AEGIS_SECRET_NAME_HOSTS` (or
`secrets/NAME.hosts`) names the hosts it may be sent to, which keeps whoever may write workflows
from sending it home. An answer that repeats a secret is masked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.config import load_secret
from aegis.errors import ConfigError, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Collection

    from aegis.config import Settings
    from aegis.workflows.models import JSON

__all__ = ["Secrets", "names_in"]

_REFERENCE: Final = re.compile(r"\$\{secret:([A-Z][A-Z0-9_]{0,63})\}")
#: Shorter ones would mask ordinary text.
_LEAST_MASKED = 6


def names_in(text: str) -> list[str]:
    """Return the secrets that a text refers to."""
    return _REFERENCE.findall(text)


class Secrets:
    """Secrets as one node uses them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._used: set[str] = set()

    def fill(self, text: str, host: str) -> str:
        """Return `text` with each reference replaced.

        Raises:
            ConfigError: there is no such secret, or it cannot be a header (`workflow_secret`).
            PermissionDenied: it may not be sent to `host` (`workflow_secret_host`).
        """
        return _REFERENCE.sub(lambda found: self._value(found.group(1), host), text)

    def mask(self, value: JSON) -> JSON:
        """Return `value` with every secret used so far taken out of its text."""
        return _mask(value, [s for s in self._used if len(s) >= _LEAST_MASKED])

    def _value(self, name: str, host: str) -> str:
        secret, hosts = load_secret(name, self.settings)
        if secret is None:
            raise ConfigError(
                f"There is no secret {name}; set AEGIS_SECRET_{name} where workers run, or write "
                f"it to secrets/{name} in the data folder.",
                code="workflow_secret",
            )
        if not secret.isprintable() or not secret.isascii() or not secret:
            raise ConfigError(
                f"Secret {name} has a line break or a letter that no header takes; copy it again.",
                code="workflow_secret",
            )
        if hosts is not None and host.lower() not in hosts:
            raise PermissionDenied(
                f"Secret {name} may not be sent to {host}; AEGIS_SECRET_{name}_HOSTS names where.",
                code="workflow_secret_host",
            )
        self._used.add(secret)
        return secret


def _mask(value: JSON, secrets: Collection[str]) -> JSON:
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "…")
        return value
    if isinstance(value, list):
        return [_mask(part, secrets) for part in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {_mask(key, secrets): _mask(part, secrets) for key, part in items}
    return value
