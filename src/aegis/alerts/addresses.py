"""Addresses of channels, as `AEGIS_ALERT_CHANNELS` has them: `NAME=ADDRESS`, set off by blanks.

    ops=https://hooks.example.org/x#secret=KEY     JSON, signed with HMAC-SHA-256
    team=slack+https://hooks.slack.com/services/…  JSON of Slack, Mattermost, Rocket.Chat
    mail=smtps://user:password@host/?to=a@b.c&from=x@y.z   or smtp:// (STARTTLS), smtp+plain://
    own=command:/usr/local/bin/page                gets the message as JSON on standard input
    phone=ntfy://topic                             anything that apprise knows (extra `alerts`)

After `#`, of any of them: `least=critical` (nothing less severe), `quiet=22:00-07:00` (only what is
critical is sent then; more than once, and `sat-sun@00:00-24:00` for days), `zone=Europe/Berlin`
(whose hours these are; UTC otherwise). An address is a secret: it is never shown, logged or stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from aegis.alerts.quiet import Quiet, parse_quiet
from aegis.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.alerts.models import ChannelKind, Severity

__all__ = ["Address", "parse_addresses"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_OPTIONS: Final = frozenset({"secret", "least", "quiet", "zone"})
_MOST_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One channel with its address; `repr` leaves out what is secret."""

    name: str
    kind: ChannelKind
    #: Scheme and host, for people.
    shown: str
    url: str = field(repr=False)
    #: Key of the signature, of a webhook.
    secret: str | None = field(repr=False, default=None)
    least_severity: Severity = "warning"
    quiet: Quiet | None = None


def parse_addresses(text: str | None) -> dict[str, Address]:
    """Return the channels of a setting by name; `@FILE` reads a file of the same form.

    Raises:
        ConfigError: one of them is none; the address itself is not repeated.
    """
    if text is None:
        return {}
    if text.startswith("@"):
        text = _read(Path(text[1:]).expanduser())
    found: dict[str, Address] = {}
    for part in _parts(text):
        name, equals, url = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ConfigError(
                f"AEGIS_ALERT_CHANNELS: channel {len(found) + 1} does not begin with NAME=; "
                "write NAME=ADDRESS, set off by blanks."
            )
        if name in found:
            raise ConfigError(f"AEGIS_ALERT_CHANNELS names {name!r} twice; give each its own name.")
        found[name] = _address(name, url)
    return found


def _parts(text: str) -> Sequence[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return " ".join(lines).split()


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: {path} cannot be read: {error}.") from None
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: {path} is larger than {_MOST_BYTES:,} bytes.")
    return text


def _address(name: str, text: str) -> Address:
    url, _, fragment = text.partition("#")
    every = _options(name, fragment)
    options = {option: values[-1] for option, values in every.items()}
    scheme = url.partition(":")[0]
    if not _SCHEME.fullmatch(scheme) or ":" not in url:
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: the address of {name!r} has no scheme.")
    kind, bare = _kind(scheme), url
    if kind == "slack":
        bare = url.removeprefix("slack+")
    if kind == "command":
        bare = url.removeprefix("command:")
        if not bare.startswith("/"):
            raise ConfigError(f"AEGIS_ALERT_CHANNELS: the command of {name!r} needs a full path.")
    try:
        host = urlsplit(bare).hostname if kind in ("webhook", "slack", "email") else ""
    except ValueError:
        host = None
    if host is None:
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: the address of {name!r} names no host.")
    if kind == "email":
        _check_email(name, bare)
    least = options.get("least", "warning")
    if least not in ("warning", "critical"):
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: least of {name!r} is {least!r}; use critical.")
    return Address(
        name=name,
        kind=kind,
        # An apprise address may hold its token where others have the host.
        shown=f"{scheme}://{host}" if host else (bare if kind == "command" else f"{scheme}://…"),
        url=bare,
        secret=options.get("secret"),
        least_severity="critical" if least == "critical" else "warning",
        quiet=_quiet(name, every),
    )


def _kind(scheme: str) -> ChannelKind:
    match scheme:
        case "http" | "https":
            return "webhook"
        case "slack+http" | "slack+https":
            return "slack"
        case "smtp" | "smtps" | "smtp+plain":
            return "email"
        case "command":
            return "command"
        case _:
            return "apprise"


def _options(name: str, fragment: str) -> dict[str, list[str]]:
    if not fragment:
        return {}
    found = parse_qs(fragment, keep_blank_values=True)
    unknown = sorted(set(found) - _OPTIONS)
    if unknown:
        raise ConfigError(
            f"AEGIS_ALERT_CHANNELS: {unknown[0][:20]!r} after # of {name!r} is no option; use "
            f"{', '.join(sorted(_OPTIONS))}."
        )
    return found


def _quiet(name: str, options: Mapping[str, Sequence[str]]) -> Quiet | None:
    if "quiet" not in options:
        if "zone" in options:
            raise ConfigError(f"AEGIS_ALERT_CHANNELS: {name!r} has a zone and no quiet= beside it.")
        return None
    try:
        return parse_quiet(options["quiet"], options.get("zone", ["UTC"])[-1])
    except InvalidInput as error:
        raise ConfigError(f"AEGIS_ALERT_CHANNELS: {name!r}: {error.message}") from None


def _check_email(name: str, url: str) -> None:
    query = parse_qs(urlsplit(url).query)
    if not query.get("to") or any("@" not in to for to in query["to"]):
        raise ConfigError(
            f"AEGIS_ALERT_CHANNELS: the e-mail channel {name!r} needs ?to=somebody@example.org."
        )
