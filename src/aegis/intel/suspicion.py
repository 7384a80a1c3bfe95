"""Answers with status 200 that are no page: nothing to read, a wall before bots, a fault."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis.intel.models import Reading

__all__ = ["suspicious"]

_SHORT = 1_500
_WALL = re.compile(
    r"just a moment\b|attention required|access denied|are you (a )?(human|robot)|"
    r"verify(ing)? (that )?you are (a )?human|enable (javascript|cookies) (and|to)|"
    r"(complete|solve) the captcha|unusual traffic|request (was )?blocked|pardon our interruption|"
    r"checking your browser|bot (detection|protection)",
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"\b(50[0-4]|internal server error|bad gateway|service (temporarily )?unavailable|"
    r"gateway time-?out|error establishing a database connection|"
    r"(down|closed) for maintenance|under maintenance|be right back|wartungsarbeiten|"
    r"en maintenance|en mantenimiento|application error|something went wrong)\b",
    re.IGNORECASE,
)
_SCRIPTED = re.compile(r"<script\b|<div[^>]+id=[\"']?(root|app|__next|__nuxt)\b", re.IGNORECASE)


def suspicious(reading: Reading, html: str, baseline: Reading | None) -> str | None:
    """Return why a document is no page to compare, None for one that is.

    What a baseline says as well, or a long text says, is no sign of a fault.
    """
    if reading.empty:
        if _SCRIPTED.search(html):
            return "There is nothing to read without a browser; watch it with --browser."
        return "There is nothing to read on it."
    text = "\n".join((reading.title, *reading.text))
    if len(text) > _SHORT:
        return None
    known = "" if baseline is None else "\n".join((baseline.title, *baseline.text))
    for pattern, why in ((_WALL, "a wall before bots"), (_FAULT, "an error page")):
        match = pattern.search(text)
        if match and not pattern.search(known):
            return f"It is {why}: “{match.group()[:60]}”."
    return None
