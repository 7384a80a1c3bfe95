"""What `/v1/intel` answers with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.intel.models import Importance, Outcome, PageState

__all__ = [
    "Acknowledged",
    "AddedAnswer",
    "ChangeAnswer",
    "ChangesAnswer",
    "CheckedAnswer",
    "ChecksAnswer",
    "CompetitorAnswer",
    "CompetitorsAnswer",
    "DiscoveredAnswer",
    "PageAnswer",
    "PagesAnswer",
    "RemovedAnswer",
]


class CompetitorAnswer(Answer):
    """A watched competitor."""

    id: int
    name: str
    domain: str
    category: str | None
    url: str | None
    enabled: bool
    check_every_s: int
    last_checked_at: datetime | None
    discovered_at: datetime | None
    discover_at: datetime | None
    last_error: str | None
    created_at: datetime | None
    watched: int
    proposed: int
    unseen: int


class CompetitorsAnswer(Answer):
    """All competitors by name."""

    items: list[CompetitorAnswer]


class DiscoveredAnswer(Answer):
    """What looking for pages found: ids of pages and of the changes that new ones are."""

    competitor_id: int
    found: int
    watched: list[int]
    proposed: list[int]
    changes: list[int]


class AddedAnswer(Answer):
    """A competitor that was added; `discovered` is null where its site could not be reached."""

    competitor: CompetitorAnswer
    discovered: DiscoveredAnswer | None


class RemovedAnswer(Answer):
    """How many rows were deleted."""

    competitors: int
    pages: int
    changes: int


class PageAnswer(Answer):
    """A page of a competitor."""

    id: int
    competitor_id: int | None
    competitor: str | None
    url: str
    page_type: str | None
    state: PageState
    browser: bool
    include_selectors: list[str]
    exclude_selectors: list[str]
    check_every_s: int
    content_hash: str | None
    screenshot_url: str | None
    last_checked_at: datetime | None
    next_check_at: datetime | None
    last_changed_at: datetime | None
    last_status: int | None
    failures: int
    last_error: str | None


class PagesAnswer(Answer):
    """Pages by id."""

    items: list[PageAnswer]


class CheckedAnswer(Answer):
    """What one check came to."""

    page_id: int
    url: str
    outcome: Outcome
    status: int | None
    changes: list[int]
    detail: str | None


class ChecksAnswer(Answer):
    """What each check came to."""

    items: list[CheckedAnswer]


class ChangeAnswer(Answer):
    """A change: both texts, the difference line by line and word by word, what it means."""

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


class ChangesAnswer(Answer):
    """Changes, the newest first."""

    items: list[ChangeAnswer]


class Acknowledged(Answer):
    """Ids of the changes that nobody had taken note of before."""

    acknowledged: list[int]
