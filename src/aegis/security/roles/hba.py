"""Files of a native server: who may log in from where, and how connections are encrypted. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput
from aegis.security.roles.description import ROLES, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.security.roles.models import Kind

__all__ = ["hba_file", "tls_settings"]

#: Who may come from other machines, where networks are given; owner and backup work on the server.
_FROM_ELSEWHERE: Final[tuple[Kind, ...]] = ("app", "readonly", "monitor", "tenant")
_LOOPBACK: Final = ("127.0.0.1/32", "::1/128")
_METHOD: Final = "scram-sha-256"


def hba_file(
    *,
    database: str,
    prefix: str,
    networks: Sequence[str] = (),
    administrator: str = "postgres",
    single: str | None = None,
) -> str:
    """Return a pg_hba.conf: one line for each role and way in, and the end refuses all else.

    The administrator comes by the socket alone, as the system knows him (`peer`). Passwords are
    scram-sha-256. From `networks` only TLS gets in.

    `single` is one login for everything instead of the roles: by the socket as the system knows it,
    over loopback with its password, to every database, since a restore makes new ones.

    Raises:
        InvalidInput: a network, or a name, is not one.
    """
    wanted = [_network(network) for network in networks]
    place, roles = _quoted("database", database), names(prefix)
    rows: list[tuple[str, ...]] = [
        ("local", "all", _quoted("administrator", administrator), "", "peer")
    ]
    if single is not None:
        who = _quoted("single", single)
        rows.append(("local", "all", who, "", "peer"))
        rows += [("host", "all", who, address, _METHOD) for address in _LOOPBACK]
        rows += [("hostssl", "all", who, address, _METHOD) for address in wanted]
    for kind in ROLES if single is None else ():
        # A plus sign means the members of a group, which are the tenants.
        who = f'+"{roles[kind]}"' if kind == "tenant" else f'"{roles[kind]}"'
        # A restore makes a database of its own, and is the owner's to do.
        where = "all" if kind == "owner" else place
        rows.append(("local", where, who, "", _METHOD))
        rows += [("host", where, who, address, _METHOD) for address in _LOOPBACK]
        if kind in _FROM_ELSEWHERE:
            rows += [("hostssl", place, who, address, _METHOD) for address in wanted]
    rows += [
        ("local", "all", "all", "", "reject"),
        ("host", "all", "all", "all", "reject"),
        ("local", "replication", "all", "", "reject"),
        ("host", "replication", "all", "all", "reject"),
    ]
    head = ("# TYPE", "DATABASE", "USER", "ADDRESS", "METHOD")
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in (head, *rows)
    ]
    text = (
        "# Written by `aegis security hba`. The first line that fits decides; what fits none of\n"
        "# these is refused. Reload with SELECT pg_reload_conf(), then look at pg_hba_file_rules.\n"
    )
    return text + "\n".join(line.rstrip() for line in lines) + "\n"


def tls_settings(*, certificate: str, key: str, listen: Sequence[str] = ()) -> str:
    """Return settings for postgresql.conf: TLS 1.2 or later, with forward secrecy.

    `certificate` and `key` are paths as the server sees them.

    Raises:
        InvalidInput: a value has a character that a setting cannot have.
    """
    values = [
        ("ssl", "on"),
        ("ssl_cert_file", certificate),
        ("ssl_key_file", key),
        ("ssl_min_protocol_version", "TLSv1.2"),
        # For TLS 1.2; the suites of 1.3 all have forward secrecy and authenticate what they carry.
        ("ssl_ciphers", "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!MD5:!PSK"),
        ("ssl_prefer_server_ciphers", "on"),
        ("password_encryption", "scram-sha-256"),
        ("log_connections", "on"),
        ("log_disconnections", "on"),
    ]
    if listen:
        values.append(("listen_addresses", ", ".join(listen)))
    lines: list[str] = []
    for name, value in values:
        if not value.isprintable():
            raise InvalidInput(f"{name} is {value!r}; it has a character that no setting has.")
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    return "# Written by `aegis security tls`.\n" + "\n".join(lines) + "\n"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise InvalidInput(
            f"network is {text!r} ({error}); write it as 10.1.0.0/16 or fd00:1::/64."
        ) from None


def _quoted(what: str, name: str) -> str:
    if not name or not name.isprintable() or len(name.encode()) > 63:
        raise InvalidInput(f"{what} is {name!r}; that is no name of PostgreSQL's.")
    return '"' + name.replace('"', '""') + '"'
