"""One step of a check as a value, and what is thought about it without network or database."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from aegis.errors import PermissionDenied
from aegis.intel import pictures
from aegis.intel.differing import changes_between, page_change, visual_change
from aegis.intel.extracting import content_hash, extractor_of, read
from aegis.intel.judging import MOST_FETCHES, Judgement

if TYPE_CHECKING:
    from aegis.errors import AegisError
    from aegis.intel.browser import Rendered
    from aegis.intel.fetching import Answer
    from aegis.intel.models import Method, NewChange, PageRow, Reading, Snapshot

__all__ = [
    "Step",
    "body_hash",
    "changes_of",
    "equal_to",
    "extractor_for",
    "look",
    "read_again",
    "read_otherwise",
    "read_page",
    "retry_s",
    "same_body",
    "sent_home",
]

#: Seconds until the first retry after a failure, four times as many after each further one.
_FIRST_RETRY_S = 300.0
_MOST_RETRY_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Step:
    """A page with what was fetched and what it is compared with."""

    page: PageRow
    token: int
    answer: Answer
    rendered: Rendered | None
    reading: Reading
    html: str
    baseline: Snapshot
    #: What the baseline says, as the extraction of today reads it.
    old: Reading
    pending: list[Snapshot]

    @property
    def reread(self) -> bool:
        """Return whether the baseline was read anew, and what waited is worth nothing."""
        return read_otherwise(self.baseline, self.reading)


def read_otherwise(baseline: Snapshot, reading: Reading) -> bool:
    """Return whether another extraction made the baseline's text, so that nothing compares."""
    return (baseline.extractor, baseline.method) != (reading.extractor, reading.method)


def extractor_for(page: PageRow) -> str:
    """Return the version of the extraction, with the page's selectors."""
    return extractor_of(page.include_selectors, page.exclude_selectors)


def body_hash(body: bytes) -> str:
    """Return the SHA-256 of an answer's bytes."""
    return hashlib.sha256(body).hexdigest()


def same_body(page: PageRow, answer: Answer, rendered: Rendered | None) -> bool:
    """Return whether an answer is, byte by byte, one that the baseline is known to equal."""
    return (
        rendered is None
        and page.content_hash is not None
        and page.extractor == extractor_for(page)
        and page.body_hash == body_hash(answer.body)
    )


def sent_home(page: PageRow, answer: Answer) -> bool:
    """Return whether the homepage is the answer, as on many sites for a page that is gone."""
    asked, got = urlsplit(page.url).path.strip("/"), urlsplit(answer.url).path.strip("/")
    return answer.status == 200 and bool(asked) and not got


def equal_to(page: PageRow, answer: Answer, reading: Reading, rendered: Rendered | None) -> PageRow:
    """Return the page's row with a baseline that says `reading` and equals `answer`."""
    return replace(
        page,
        state="watched" if page.state == "gone" else page.state,
        failures=0,
        last_status=answer.status,
        etag=answer.etag,
        last_modified=answer.last_modified,
        body_hash=body_hash(answer.body),
        content_hash=content_hash(reading),
        extractor=reading.extractor,
        screenshot_url=page.screenshot_url if rendered is None else rendered.screenshot_url,
    )


def retry_s(page: PageRow, error: AegisError, answer: Answer | None) -> float:
    """Return the seconds until a page is tried again: later and later, or when the host says."""
    failures = page.failures + 1
    seconds = min(
        _FIRST_RETRY_S * 4.0 ** min(failures - 1, 10),
        max(float(page.check_every_s), _FIRST_RETRY_S) * max(1, failures - 3),
        _MOST_RETRY_S,
    )
    if isinstance(error, PermissionDenied):
        seconds = max(float(page.check_every_s), 86_400.0)
    if answer is not None and answer.retry_after_s is not None:
        seconds = max(seconds, answer.retry_after_s)
    return seconds


async def read_page(html: str, page: PageRow, method: Method | None) -> Reading:
    """Return what a document says, read in a thread: it is work, and others wait."""
    return await anyio.to_thread.run_sync(
        partial(
            read,
            html,
            page_type=page.page_type,
            include=page.include_selectors,
            exclude=page.exclude_selectors,
            method=method,
        )
    )


async def read_again(document: bytes | None, page: PageRow, reading: Reading) -> Reading:
    """Return what the baseline's document says to the extraction that made `reading`.

    Without the document nothing can be compared: the new reading becomes the baseline's.
    """
    if document is None:
        return reading
    html = zlib.decompress(document).decode(errors="replace")
    return await read_page(html, page, reading.method)


def look(step: Step, verdict: Judgement) -> tuple[Judgement, float]:
    """Judge the picture of a page whose text says the same; return the share that differs."""
    new = None if step.rendered is None else step.rendered.picture
    if new is None or step.baseline.picture is None:
        return verdict, 0.0
    share = pictures.difference(step.baseline.picture, new)
    if share < pictures.LEAST:
        return verdict, 0.0
    before = step.pending[-1].picture if step.pending else None
    if before is not None and pictures.difference(before, new) < pictures.LEAST:
        return Judgement(kind="changed", rules=verdict.rules), share
    # What looks different each time is a film.
    kind = "pending" if len(step.pending) + 1 < MOST_FETCHES else "noise"
    return Judgement(kind=kind, rules=verdict.rules), 0.0


def changes_of(step: Step, verdict: Judgement, share: float) -> list[NewChange]:
    """Return the changes that a confirmed difference consists of."""
    found = changes_between(step.old, step.reading, verdict.rules, page_type=step.page.page_type)
    if share and step.rendered is not None:
        old, new = step.baseline.screenshot_url, step.rendered.screenshot_url
        found.append(visual_change(share, old, new))
    if step.page.state == "gone":
        back = page_change("new_page", step.page.url, step.page.page_type, title=step.reading.title)
        found.insert(0, back)
    return found
