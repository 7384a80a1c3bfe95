"""What the watching of competitors works with: rows, and what a fetch brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "CHANGE_TYPES",
    "METHODS",
    "PAGE_STATES",
    "PAGE_TYPES",
    "SNAPSHOT_STATES",
    "Change",
    "ChangeType",
    "Checked",
    "Competitor",
    "Found",
    "Importance",
    "Method",
    "NewChange",
    "Outcome",
    "Page",
    "PageRow",
    "PageState",
    "PageType",
    "Reading",
    "Snapshot",
    "SnapshotState",
]

PageType = Literal["pricing", "features", "homepage", "docs", "blog", "other"]
PAGE_TYPES: tuple[PageType, ...] = ("pricing", "features", "homepage", "docs", "blog", "other")
PageState = Literal["proposed", "watched", "ignored", "gone"]
PAGE_STATES: tuple[PageState, ...] = ("proposed", "watched", "ignored", "gone")
SnapshotState = Literal["baseline", "pending", "old"]
SNAPSHOT_STATES: tuple[SnapshotState, ...] = ("baseline", "pending", "old")
Method = Literal["article", "blocks"]
METHODS: tuple[Method, ...] = ("article", "blocks")
ChangeType = Literal["price", "content", "new_page", "removed_page", "title", "structure", "visual"]
CHANGE_TYPES: tuple[ChangeType, ...] = (
    "price",
    "content",
    "new_page",
    "removed_page",
    "title",
    "structure",
    "visual",
)
Importance = Literal["low", "medium", "high", "critical"]

#: What a check came to. `first`: the baseline was taken. `pending`: something differs, a second
#: fetch is due. `noise`: what differed changes by itself. `failed`: nothing was learned.
#: `disallowed`: robots.txt forbids it. `lost`: another worker has the page by now.
Outcome = Literal[
    "first", "unchanged", "pending", "noise", "changed", "failed", "disallowed", "lost"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """A watched competitor (`competitors`)."""

    id: int
    name: str
    domain: str
    category: str | None
    #: Where its pages are looked for.
    url: str | None
    enabled: bool
    check_every_s: int
    last_checked_at: datetime | None
    discovered_at: datetime | None
    discover_at: datetime | None
    last_error: str | None
    created_at: datetime | None
    #: Of its pages, those that are checked, and those that were found and wait for a choice.
    watched: int
    proposed: int
    #: Changes that nobody took note of yet.
    unseen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a competitor (`competitor_pages`)."""

    id: int
    competitor_id: int | None
    competitor: str | None
    url: str
    page_type: str | None
    state: PageState
    browser: bool
    include_selectors: list[str]
    exclude_selectors: list[str]
    #: Seconds between checks, its own or the competitor's.
    check_every_s: int
    content_hash: str | None
    screenshot_url: str | None
    last_checked_at: datetime | None
    next_check_at: datetime | None
    last_changed_at: datetime | None
    last_status: int | None
    #: Failures in a row.
    failures: int
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRow:
    """What a check needs to know of a page."""

    id: int
    competitor: str | None
    url: str
    host: str | None
    page_type: str | None
    state: PageState
    browser: bool
    include_selectors: list[str]
    exclude_selectors: list[str]
    check_every_s: int
    content_hash: str | None
    body_hash: str | None
    etag: str | None
    last_modified: str | None
    extractor: str | None
    noise: dict[str, Any]
    failures: int
    last_status: int | None
    screenshot_url: str | None
    lease_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a document says: four lists of lines, each compared for itself."""

    extractor: str
    method: Method
    title: str
    text: tuple[str, ...]
    #: `plan | amount | currency | period`, in the order of the page.
    prices: tuple[str, ...]
    outline: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to read."""
        return not self.text and not self.prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A reading with where it is from (`competitor_snapshots`); its document is left there."""

    id: int
    page_id: int
    state: SnapshotState
    taken_at: datetime
    url: str
    status: int
    extractor: str
    method: Method
    title: str
    text: str
    prices: str
    outline: str
    body_hash: str | None
    screenshot_url: str | None
    #: Picture scaled down to 32 columns of grey, a byte each.
    picture: bytes | None

    @property
    def reading(self) -> Reading:
        """Return what it says."""
        return Reading(
            extractor=self.extractor,
            method=self.method,
            title=self.title,
            text=tuple(self.text.splitlines()),
            prices=tuple(self.prices.splitlines()),
            outline=tuple(self.outline.splitlines()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChange:
    """A change that was confirmed and is to be stored."""

    change_type: ChangeType
    old_value: str | None
    new_value: str | None
    #: Unified.
    diff: str
    #: Word by word: `[-old-]` and `{+new+}`.
    word_diff: str
    importance: Importance
    summary: str
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stored change (`competitor_changes`)."""

    id: int
    page_id: int | None
    competitor: str | None
    url: str | None
    page_type: str | None
    change_type: str | None
    importance: Importance
    summary: str | None
    old_value: str | None
    new_value: str | None
    diff: str | None
    word_diff: str | None
    details: dict[str, Any] | None
    old_screenshot_url: str | None
    new_screenshot_url: str | None
    detected_at: datetime | None
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page that was found on a competitor's site."""

    url: str
    page_type: PageType
    #: From the sitemap; from a link otherwise.
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check of a page came to."""

    page_id: int
    url: str
    outcome: Outcome
    status: int | None = None
    #: Ids of the changes that were stored.
    changes: tuple[int, ...] = ()
    detail: str | None = None
