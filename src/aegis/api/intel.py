"""`/v1/intel`: competitors, their pages, and what changed on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import PlainTextResponse
from pydantic import Field

from aegis.api.intel_answers import (
    Acknowledged,
    AddedAnswer,
    ChangeAnswer,
    ChangesAnswer,
    ChecksAnswer,
    CompetitorAnswer,
    CompetitorsAnswer,
    DiscoveredAnswer,
    PageAnswer,
    PagesAnswer,
    RemovedAnswer,
)
from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Body
from aegis.api.state import ClientOf, KnownParameters, answer

__all__ = ["router"]

router = Router(prefix="/v1/intel", tags=["intel"], dependencies=[KnownParameters])
Texts = Annotated[list[str] | None, Query()]


class CompetitorBody(Body):
    """A competitor to watch."""

    domain: str = Field(description="Its domain, or an address on it.")
    name: str | None = Field(None, description="What it is called; the domain otherwise.")
    category: str | None = None
    every: str | None = Field(None, description="How often pages are checked, such as 12h.")
    discover: bool = Field(True, description="Look for its pages now.")


class CompetitorPatch(Body):
    """What is to be set of a competitor; what is left out stays."""

    enabled: bool | None = None
    every: str | None = None
    category: str | None = None


class PageBody(Body):
    """A page to watch."""

    url: str
    type: str | None = Field(None, description="What kind it is; told by the address otherwise.")
    browser: bool = Field(False, description="Whether a browser fetches it.")


class PagePatch(Body):
    """What is to be set of a page; what is left out stays."""

    state: str | None = Field(None, description="watched, proposed or ignored.")
    type: str | None = None
    browser: bool | None = None
    include: list[str] | None = Field(None, description="CSS selectors of what counts.")
    exclude: list[str] | None = Field(None, description="CSS selectors of what does not.")
    every: str | None = None


class CheckBody(Body):
    """Which pages to check now: one, those of a competitor, or those that are due."""

    competitor: str | None = None
    page_id: int | None = None
    everything: bool = Field(False, description="Also pages that are not due.")


class AckBody(Body):
    """Changes that somebody took note of, by id or all of a competitor."""

    ids: list[int] = Field(default_factory=list[int])
    competitor: str | None = None


@router.post("/competitors", status_code=201, response_model=AddedAnswer)
async def add_competitor(client: ClientOf, body: CompetitorBody) -> Any:
    """Watch a competitor: its homepage, prices and features at once, other pages if chosen."""
    made, found = await client.intel.add(
        body.domain,
        name=body.name,
        category=body.category,
        every=body.every,
        discover=body.discover,
    )
    return answer({"competitor": made, "discovered": found}, 201)


@router.get("/competitors", response_model=CompetitorsAnswer)
async def list_competitors(client: ClientOf) -> Any:
    """Return all competitors by name."""
    return answer({"items": await client.intel.list()})


@router.get("/competitors/{competitor}", response_model=CompetitorAnswer)
async def get_competitor(client: ClientOf, competitor: str) -> Any:
    """Return the competitor of this id, name or domain."""
    return answer(await client.intel.competitor(competitor))


@router.patch("/competitors/{competitor}", response_model=CompetitorAnswer)
async def set_competitor(client: ClientOf, competitor: str, body: CompetitorPatch) -> Any:
    """Pause a competitor, or say how often its pages are checked."""
    return answer(
        await client.intel.configure(
            competitor, enabled=body.enabled, every=body.every, category=body.category
        )
    )


@router.delete("/competitors/{competitor}", response_model=RemovedAnswer)
async def remove_competitor(client: ClientOf, competitor: str) -> Any:
    """Delete a competitor with its pages and changes."""
    return answer(await client.intel.remove(competitor))


@router.post("/competitors/{competitor}/discover", response_model=DiscoveredAnswer)
async def discover_pages(client: ClientOf, competitor: str) -> Any:
    """Look for a competitor's pages now, in its sitemaps and links."""
    return answer(await client.intel.discover(competitor))


@router.post("/competitors/{competitor}/pages", status_code=201, response_model=PageAnswer)
async def watch_page(client: ClientOf, competitor: str, body: PageBody) -> Any:
    """Watch a page of a competitor by its address."""
    page = await client.intel.watch(competitor, body.url, kind=body.type, browser=body.browser)
    return answer(page, 201)


@router.get("/pages", response_model=PagesAnswer)
async def list_pages(
    client: ClientOf,
    competitor: str | None = None,
    state: Texts = None,
    type: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> Any:
    """Return pages by id, those after the id `after`."""
    found = await client.intel.pages(
        competitor, states=state or [], page_type=type, after=after, limit=limit
    )
    return answer({"items": found})


@router.get("/pages/{page_id}", response_model=PageAnswer)
async def get_page(client: ClientOf, page_id: int) -> Any:
    """Return one page."""
    return answer(await client.intel.page(page_id))


@router.patch("/pages/{page_id}", response_model=PageAnswer)
async def set_page(client: ClientOf, page_id: int, body: PagePatch) -> Any:
    """Watch or ignore a page, or say how it is fetched and what of it counts."""
    page = await client.intel.page(page_id)
    given = body.model_dump(exclude={"state", "type"}, exclude_none=True)
    if given or body.type is not None:
        page = await client.intel.configure_page(page_id, kind=body.type, **given)
    if body.state is not None:
        await client.intel.choose([page_id], body.state)
        page = await client.intel.page(page_id)
    return answer(page)


@router.post("/check", response_model=ChecksAnswer)
async def check_pages(client: ClientOf, body: CheckBody) -> Any:
    """Check pages now and return what each check came to."""
    found = await client.intel.check(
        body.competitor, page_id=body.page_id, everything=body.everything
    )
    return answer({"items": found})


@router.get("/changes", response_model=ChangesAnswer)
async def list_changes(
    client: ClientOf,
    competitor: str | None = None,
    page_id: int | None = None,
    type: Texts = None,
    importance: str | None = None,
    since: Annotated[OptionalTime, Query()] = None,
    until: Annotated[OptionalTime, Query()] = None,
    unseen: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> Any:
    """Return changes, the newest first; `before` is the id of the last of the page before."""
    found = await client.intel.changes(
        competitor,
        page_id=page_id,
        types=type or [],
        importance=importance,
        since=since,
        until=until,
        unseen=unseen,
        before=before,
        limit=limit,
    )
    return answer({"items": found})


@router.get("/changes/{change_id}", response_model=ChangeAnswer)
async def get_change(client: ClientOf, change_id: int) -> Any:
    """Return one change with both texts and both diffs."""
    return answer(await client.intel.change(change_id))


@router.post("/changes/ack", response_model=Acknowledged)
async def acknowledge_changes(client: ClientOf, body: AckBody) -> Any:
    """Take note of changes."""
    done = await client.intel.acknowledge(body.ids, competitor=body.competitor)
    return answer({"acknowledged": done})


@router.get("/report", response_class=PlainTextResponse)
async def report(
    client: ClientOf,
    days: float = 7.0,
    competitor: str | None = None,
    importance: str | None = None,
) -> Any:
    """Return what changed in the last days as Markdown."""
    text = await client.intel.digest(days=days, competitor=competitor, importance=importance)
    return PlainTextResponse(text, media_type="text/markdown")
