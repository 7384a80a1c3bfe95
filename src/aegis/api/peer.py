"""Who really asks: the address behind proxies that the settings trust, and no other."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from aegis.config_ranges import networks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Scope

__all__ = ["Peers"]


class Peers:
    """Resolves addresses for one set of trusted networks."""

    def __init__(self, networks: str | None) -> None:
        self._trusted = networks_of("AEGIS_HTTP_TRUSTED_PROXIES", networks)

    def resolve(self, scope: Scope) -> str:
        """Return the client's address; behind a trusted proxy `client` and `scheme` are put right.

        The list that a proxy sends is read from its end, where the nearest one wrote: the first
        address that is no trusted proxy is the client. What stands before it anybody may invent.
        """
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if not self._trusted or not self.trusts(address):
            return address
        chain: list[str] = []
        scheme: str | None = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                chain += value.decode("latin-1").split(",")
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
        found = self._first_stranger([part.strip() for part in chain]) or address
        scope["client"] = (found, 0)
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        return found

    def trusts(self, address: str) -> bool:
        """Tell whether `address` is a proxy of ours."""
        if not self._trusted:
            return False
        parsed = _parse(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self._trusted
        )

    def _first_stranger(self, chain: Sequence[str]) -> str | None:
        last: str | None = None
        for text in reversed(chain):
            parsed = _parse(_without_port(text))
            if parsed is None:
                # A proxy of ours wrote something else; who is before it cannot be known.
                return last
            last = str(parsed)
            if not self.trusts(last):
                return last
        return last


def _parse(text: str) -> Any:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _without_port(text: str) -> str:
    """Return the address of `[::1]:80` and `10.0.0.1:80`, as some proxies write it."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
