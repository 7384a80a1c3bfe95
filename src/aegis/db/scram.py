"""What PostgreSQL keeps of a password: SCRAM-SHA-256 (RFC 5802, RFC 7677), made by us.

`ALTER ROLE … PASSWORD` takes it as it is, so that no statement and no log has the password. The
password is printable ASCII: other letters would have to be normalised first (SASLprep).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import Final

__all__ = ["make_verifier", "matches"]

#: As PostgreSQL's own (`scram_iterations`).
_ITERATIONS: Final = 4096
_KEPT: Final = re.compile(
    r"SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)"
)


def make_verifier(password: str, *, salt: bytes | None = None) -> str:
    """Return what the server keeps of `password`, printable ASCII."""
    salted = salt or os.urandom(16)
    stored, server = _keys(password, salted, _ITERATIONS)
    parts = (base64.b64encode(part).decode() for part in (salted, stored, server))
    first, second, third = parts
    return f"SCRAM-SHA-256${_ITERATIONS}:{first}${second}:{third}"


def matches(kept: str | None, password: str) -> bool:
    """Tell whether the server keeps `password`."""
    found = None if kept is None else _KEPT.fullmatch(kept)
    if found is None:
        return False
    salt, stored, server = (base64.b64decode(found[n]) for n in (2, 3, 4))
    mine = _keys(password, salt, int(found[1]))
    return hmac.compare_digest(mine[0], stored) and hmac.compare_digest(mine[1], server)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
