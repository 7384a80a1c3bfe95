"""A report as a Markdown document: title, text, sources, what is not verified. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aegis.research.texts import one_line, quiet_markdown

if TYPE_CHECKING:
    from aegis.research.models import Citation, Report, Source

__all__ = ["render"]

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|>~-])")


def render(query: str, report: Report) -> str:
    """Return the document; nothing in it runs or loads anything where it is shown."""
    parts = [f"# {_words(query, most=200)}", quiet_markdown(report.text).strip()]
    if report.warnings:
        parts.append("\n".join(f"> {_words(warning)}" for warning in report.warnings))
    if report.sources:
        lines = [_source(at, source) for at, source in enumerate(report.sources, 1)]
        parts += ["## Sources", "\n".join(lines)]
    doubtful = _doubtful(report.citations)
    if doubtful:
        parts += [
            "## Not verified",
            "The provider returned no such source; it may be invented.",
            "\n".join(doubtful),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _source(at: int, source: Source) -> str:
    said = f": {_words(source.snippet, most=200)}" if source.snippet else ""
    if source.kind == "memory":
        return f"{at}. [e{source.episode_id}] {_words(source.title or '')}{said}"
    title = _words(source.title or source.url or "")
    when = f" ({_words(source.published)})" if source.published else ""
    return f"{at}. [{title}](<{source.url}>){when}"


def _doubtful(citations: tuple[Citation, ...]) -> list[str]:
    found: dict[str, None] = {}
    for citation in citations:
        if not citation.verified:
            memory = None if citation.episode_id is None else f"e{citation.episode_id}"
            named = citation.url or memory or citation.title or "a source without a name"
            # As text: nobody should follow it by accident.
            found[f"- `{named.replace('`', ' ')}`"] = None
    return list(found)


def _words(text: str, *, most: int = 300) -> str:
    return _MARKS.sub(r"\\\1", one_line(text, most=most) or "").replace("<", "&lt;")
