"""Which citations of a report were returned by its provider, and which were not. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.research.models import Citation, Report, Source
from aegis.research.texts import MAX_REPORT, clean, find_urls, one_line, url_key, web_url

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_CITATIONS", "MAX_SOURCES", "checked"]

MAX_SOURCES = 1_000
MAX_CITATIONS = 2_000


def checked(report: Report) -> Report:
    """Return a report bounded, cleaned, and with each citation held against its sources.

    Addresses in the text that no citation names are citations, too: models invent them there.
    """
    text = clean(report.text, most=MAX_REPORT) or ""
    warnings = [w for w in (one_line(w) for w in report.warnings) if w]
    if len(report.text) > MAX_REPORT:
        warnings.append(f"The report was cut at {MAX_REPORT:,} characters.")
    # Places were counted in the text as it came.
    same = text == report.text
    sources = _sources(report.sources)
    positions = {_key(source): at for at, source in reversed(list(enumerate(sources, 1)))}
    found = [_checked(c, positions, sources, len(text), same) for c in report.citations]
    named = {url_key(c.url) for c in found if c.url}
    for url, start, end in find_urls(text):
        if len(found) >= MAX_CITATIONS:
            break
        if url_key(url) not in named:
            named.add(url_key(url))
            bare = Citation(url=url, start_char=start, end_char=end)
            found.append(_checked(bare, positions, sources, len(text), True))
    if len(report.citations) > MAX_CITATIONS or len(report.sources) > MAX_SOURCES:
        warnings.append(f"Only {MAX_SOURCES:,} sources and {MAX_CITATIONS:,} citations are kept.")
    return replace(
        report,
        text=text,
        sources=tuple(sources),
        citations=tuple(found[:MAX_CITATIONS]),
        warnings=tuple(warnings),
    )


def _sources(given: Iterable[Source]) -> list[Source]:
    kept: dict[tuple[str, str | int], Source] = {}
    for source in given:
        url = web_url(source.url)
        if url is None and source.episode_id is None:
            continue
        tidy = replace(
            source,
            url=url,
            title=one_line(source.title),
            snippet=one_line(source.snippet, most=1_000),
            published=one_line(source.published, most=100),
        )
        kept.setdefault(_key(tidy), tidy)
        if len(kept) >= MAX_SOURCES:
            break
    return list(kept.values())


def _key(source: Source | Citation) -> tuple[str, str | int]:
    if source.episode_id is not None:
        return ("memory", source.episode_id)
    return ("web", url_key(source.url or ""))


def _checked(
    citation: Citation,
    positions: dict[tuple[str, str | int], int],
    sources: list[Source],
    length: int,
    placed: bool,
) -> Citation:
    url = web_url(citation.url)
    position = None
    if url is not None or citation.episode_id is not None:
        position = positions.get(_key(replace(citation, url=url)))
    start, end = citation.start_char, citation.end_char
    if not placed or start is None or end is None or not 0 <= start <= end <= length:
        start = end = None
    title = one_line(citation.title)
    if title is None and position is not None:
        title = sources[position - 1].title
    return replace(
        citation,
        url=url,
        title=title,
        cited_text=one_line(citation.cited_text, most=1_000),
        start_char=start,
        end_char=end,
        source_position=position,
        verified=position is not None,
    )
