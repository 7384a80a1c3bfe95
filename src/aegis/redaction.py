"""Credentials in text that others wrote: recognised by prefix, or by what they are assigned to.

The foundation, since a hook needs it before anything is written, and imports next to nothing.
"""

from __future__ import annotations

import re

__all__ = ["redact"]

_SECRET = re.compile(
    r"\b(?:sk|pk|rk)[-_][\w-]{16,}|\bgh[oprsu]_\w{20,}|\bgithub_pat_\w{20,}|\bxox[a-z]-[\w-]{10,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
    r"|((?i:bearer\s+|basic\s+|://[^\s:/@]+:"
    r"|[\w-]{0,40}(?:password|passwd|secret|token|api_?key)[\w-]{0,40}[\\\"']*\s*[=:]\s*[\\\"']*))"
    r"[^\s\"'\\@]{4,}"
)


def redact(text: str) -> str:
    """Return `text` with `[secret]` where a credential seems to stand."""
    return _SECRET.sub(lambda match: f"{match[1] or ''}[secret]", text)
