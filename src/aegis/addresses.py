"""Which IP addresses are of the public internet, and which others may be reached all the same."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Allowed", "is_metadata", "may_reach", "plain_host"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where clouds hand out credentials; allowed only by exactly this address, by no wider network.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
#: Relays of IPv6 over IPv4, which `ipaddress` counts as public.
_RELAYS: Final = ipaddress.ip_network("192.88.99.0/24")
#: IPv6 prefixes whose last 32 bits are an IPv4 address that a gateway goes on to.
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True, slots=True)
class Allowed:
    """Places beyond the public internet that may be reached."""

    networks: Sequence[Network] = ()
    #: In lower case, without a final dot.
    hosts: frozenset[str] = field(default_factory=frozenset[str])

    @classmethod
    def parse(cls, text: str | None) -> Allowed:
        """Read `AEGIS_OUTBOUND_ALLOW`: networks, addresses and names of hosts after commas.

        Raises:
            ConfigError: a part is neither.
        """
        networks: list[Network] = []
        hosts: set[str] = set()
        for part in (p.strip() for p in (text or "").split(",")):
            if not part:
                continue
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                if "/" in part or not _is_name(part):
                    raise ConfigError(
                        f"AEGIS_OUTBOUND_ALLOW has {part!r}; write networks such as 10.1.0.0/16 "
                        "or names of hosts, with commas between.",
                        code="outbound_allow",
                    ) from None
                hosts.add(plain_host(part))
        return cls(tuple(networks), frozenset(hosts))


def may_reach(address: str, allowed: Allowed | None = None) -> bool:
    """Return whether an IP address, given as text, may be connected to."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_may_reach(one, allowed or Allowed()) for one in _meant(ip))


def _meant(ip: Address) -> list[Address]:
    """Return the address and the IPv4 addresses that it carries inside."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    meant: list[Address] = [ip]
    last = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.ipv4_mapped is not None:
        # One and the same: the connection is an IPv4 one.
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        meant.append(ip.sixtofour)
    if ip.teredo is not None:
        meant += ip.teredo
    if any(ip in network for network in _NAT64) or (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
        meant.append(last)
    return meant


def _may_reach(ip: Address, allowed: Allowed) -> bool:
    inside = [n for n in allowed.networks if n.version == ip.version and ip in n]
    if ip in _METADATA:
        return any(n.num_addresses == 1 for n in inside)
    return bool(inside) or _is_public(ip)


def _is_public(ip: Address) -> bool:
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        # `ipaddress` calls the whole of 64:ff9b::/96 reserved; what it carries is judged apart.
        return isinstance(ip, ipaddress.IPv6Address) and ip in _NAT64[0]
    return ip not in (_RELAYS if ip.version == 4 else _COMPATIBLE)


def is_metadata(address: str) -> bool:
    """Return whether an IP address is one where a cloud hands out credentials."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return any(one in _METADATA for one in _meant(ip))


def plain_host(host: str) -> str:
    """Return a name of a host as it is compared."""
    return host.lower().rstrip(".")


def _is_name(text: str) -> bool:
    return len(text) <= 253 and all(
        label and label.isascii() and label.replace("-", "").replace("_", "").isalnum()
        for label in text.rstrip(".").split(".")
    )
