"""One check of one page: fetch, read, judge, and write what came of it.

No transaction is open while the network is asked. Everything that a check found is written in one
transaction whose first statement is fenced by the lease's token: a worker that was taken for dead
writes nothing. A crash before it leaves the page as it was, due when the lease ends.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from aegis.errors import AegisError, PermissionDenied, Unavailable
from aegis.intel import judging, keeping
from aegis.intel.differing import page_change
from aegis.intel.models import Checked
from aegis.intel.noise import read_rules, rested
from aegis.intel.step import (
    Step,
    changes_of,
    equal_to,
    extractor_for,
    look,
    read_again,
    read_otherwise,
    read_page,
    retry_s,
    same_body,
    sent_home,
)
from aegis.intel.store import pages, snapshots
from aegis.intel.suspicion import suspicious

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.intel.browser import Browser, Rendered
    from aegis.intel.fetching import Answer
    from aegis.intel.judging import Judgement
    from aegis.intel.models import Outcome, PageRow, Reading
    from aegis.intel.robots import Polite
    from aegis.intel.summing import Summing

__all__ = ["Checker"]

#: Fetches after the first from which noise is learned before anything is compared.
_LEARNING = 3
_HTML = ("text/html", "application/xhtml+xml", "application/xml", "text/xml", "text/plain", "")
_GONE = (404, 410)
#: Lines of two readings that are compared faster than a thread is found for it.
_FEW_LINES = 1_000


class Checker:
    """Checks pages; one for a process."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        polite: Polite,
        *,
        browser: Browser | None = None,
        summing: Summing | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._polite = polite
        self._browser = browser
        self._summing = summing

    async def check(self, page_id: int, token: int) -> Checked:
        """Check a page that is held with `token`, and record how it ended."""
        async with self._db.connection() as conn:
            page = await pages.get_row(conn, page_id)
        if page is None or page.lease_token != token:
            return Checked(page_id=page_id, url="", outcome="lost")
        try:
            answer, rendered = await self._fetch(page)
        except AegisError as error:
            return await self._failed(page, token, error)
        if answer.status == 304 or (answer.status == 200 and same_body(page, answer, rendered)):
            return await self._same(page, token, answer)
        if answer.status in _GONE or sent_home(page, answer):
            return await self._gone(page, token, answer)
        if answer.status != 200:
            trouble = Unavailable(f"It answers with HTTP {answer.status}.", code="intel_status")
            return await self._failed(page, token, trouble, answer)
        return await self._compare(page, token, answer, rendered)

    async def _fetch(self, page: PageRow) -> tuple[Answer, Rendered | None]:
        from aegis.intel.urls import clean

        url = clean(page.url)
        if page.browser:
            if self._browser is None:
                raise Unavailable("There is no browser to fetch it with.", code="intel_browser")
            return await self._browser.get(url)
        conditional = page.content_hash is not None and page.extractor == extractor_for(page)
        answer = await self._polite.get(
            url,
            etag=page.etag if conditional else None,
            last_modified=page.last_modified if conditional else None,
        )
        return answer, None

    async def _same(self, page: PageRow, token: int, answer: Answer) -> Checked:
        """Write that an answer is, byte by byte, what the baseline is known to equal."""
        rules = read_rules(page.noise)
        known = replace(rested(rules, None), learning=max(0, rules.learning - 1))
        # What rested is compared again: the next answer is read, even if it is the same.
        compared = (rules.flaps, rules.moves) != (known.flaps, known.moves)
        row = replace(
            page,
            state="watched" if page.state == "gone" else page.state,
            failures=0,
            last_status=200,
            etag=None if compared else answer.etag or page.etag,
            last_modified=None if compared else answer.last_modified or page.last_modified,
            body_hash=None if compared else page.body_hash,
            noise=page.noise if known == rules else known.to_json(),
        )
        returned = page.state == "gone"
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn,
                row,
                token,
                next_s=self._next_s(page, learning=known.learning),
                error=None,
                lasting=returned,
            )
            ids: tuple[int, ...] = ()
            if held:
                await snapshots.drop_pending(conn, page.id)
                if returned:
                    ids = await keeping.store(
                        conn, page, [page_change("new_page", page.url, page.page_type)]
                    )
        return _checked(page, "changed" if ids else "unchanged", answer, ids, held=held)

    async def _gone(self, page: PageRow, token: int, answer: Answer) -> Checked:
        """A page that is not there: believed when it is said twice, and only of a known one."""
        if page.content_hash is None or page.state == "gone":
            home = answer.status == 200
            what = "It leads to the homepage." if home else f"It answers with HTTP {answer.status}."
            trouble = Unavailable(what, code="intel_status")
            return await self._failed(page, token, trouble, answer)
        confirmed = page.last_status in _GONE
        row = replace(page, last_status=404, failures=0, state="gone" if confirmed else page.state)
        next_s = self._next_s(page) if confirmed else self._settings.intel_confirm_s
        ids: tuple[int, ...] = ()
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn, row, token, next_s=next_s, error=None, changed=confirmed
            )
            if held and confirmed:
                await snapshots.drop_pending(conn, page.id)
                change = page_change("removed_page", page.url, page.page_type)
                ids = await keeping.store(conn, page, [change])
        return _checked(page, "changed" if confirmed else "pending", answer, ids, held=held)

    async def _failed(
        self, page: PageRow, token: int, error: AegisError, answer: Answer | None = None
    ) -> Checked:
        """Write a failure: the page is tried again later and later, its baseline stays."""
        row = replace(
            page,
            failures=page.failures + 1,
            last_status=None if answer is None else answer.status,
        )
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn,
                row,
                token,
                next_s=retry_s(page, error, answer) * random.uniform(1.0, 1.1),  # noqa: S311
                error=error.message[:500].replace("\x00", ""),
                learned=False,
            )
        outcome: Outcome = "disallowed" if isinstance(error, PermissionDenied) else "failed"
        return _checked(page, outcome, answer, held=held, detail=error.message)

    async def _compare(
        self, page: PageRow, token: int, answer: Answer, rendered: Rendered | None
    ) -> Checked:
        if answer.content_type not in _HTML:
            trouble = Unavailable(
                f"It is {answer.content_type[:60]!r}, no page to read.", code="intel_type"
            )
            return await self._failed(page, token, trouble, answer)
        html = answer.text if rendered is None else rendered.html
        async with self._db.connection() as conn:
            current = await snapshots.list_current(conn, page.id)
        baseline = next((s for s in current if s.state == "baseline"), None)
        pending = [s for s in current if s.state == "pending"]
        method = None if baseline is None else baseline.method
        reading = await read_page(html, page, method)
        known = None if baseline is None else baseline.reading
        why = suspicious(reading, html, known)
        if why is not None:
            return await self._failed(page, token, Unavailable(why, code="intel_empty"), answer)
        if baseline is None or known is None:
            return await self._first(page, token, answer, rendered, reading, html)
        old = known
        if read_otherwise(baseline, reading):
            async with self._db.connection() as conn:
                document = await snapshots.find_document(conn, baseline.id)
            old = await read_again(document, page, reading)
            # What waited was read in another way, too.
            pending = []
        step = Step(page, token, answer, rendered, reading, html, baseline, old, pending)
        return await self._judge(step)

    async def _first(
        self,
        page: PageRow,
        token: int,
        answer: Answer,
        rendered: Rendered | None,
        reading: Reading,
        html: str,
    ) -> Checked:
        noise = {**read_rules({}).to_json(), "learning": _LEARNING}
        row = equal_to(replace(page, noise=noise), answer, reading, rendered)
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn, row, token, next_s=self._settings.intel_confirm_s, error=None
            )
            if held:
                await keeping.add(conn, page, answer, rendered, reading, html, state="baseline")
        return _checked(page, "first", answer, held=held)

    async def _judge(self, step: Step) -> Checked:
        page = step.page
        rules = read_rules(page.noise)
        if rules.learning:
            rules = judging.learn(step.old, step.reading, rules)
            verdict = judging.Judgement(kind="noise", rules=rules)
        elif step.pending or len(step.old.text) + len(step.reading.text) > _FEW_LINES:
            # It is work, and others wait.
            verdict = await anyio.to_thread.run_sync(
                judging.judge, step.old, [s.reading for s in step.pending], step.reading, rules
            )
        else:
            verdict = judging.judge(step.old, [], step.reading, rules)
        share = 0.0
        if verdict.kind in ("unchanged", "noise") and not rules.learning:
            verdict, share = look(step, verdict)
        if verdict.kind == "unstable":
            trouble = Unavailable(
                "Each fetch is another page; exclude what changes by itself with --exclude.",
                code="intel_unstable",
            )
            return await self._failed(page, step.token, trouble, step.answer)
        if verdict.kind == "pending":
            return await self._wait(step, verdict)
        if verdict.kind == "changed":
            return await self._change(step, verdict, share)
        return await self._settle(step, verdict)

    async def _wait(self, step: Step, verdict: Judgement) -> Checked:
        """Keep what differs until a second fetch confirms it."""
        row = replace(
            step.page, failures=0, last_status=step.answer.status, noise=verdict.rules.to_json()
        )
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn, row, step.token, next_s=self._settings.intel_confirm_s, error=None
            )
            if held:
                if not step.pending:
                    await snapshots.drop_pending(conn, step.page.id)
                await keeping.reread(conn, step)
                await keeping.add(
                    conn,
                    step.page,
                    step.answer,
                    step.rendered,
                    step.reading,
                    None,
                    state="pending",
                )
        return _checked(step.page, "pending", step.answer, held=held)

    async def _settle(self, step: Step, verdict: Judgement) -> Checked:
        """Nothing changed but noise: the baseline stays, and is known to equal this answer."""
        page = replace(step.page, noise=verdict.rules.to_json())
        row = equal_to(page, step.answer, step.old, step.rendered)
        returned = page.state == "gone"
        learning = verdict.rules.learning
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn,
                row,
                step.token,
                next_s=self._next_s(page, learning=learning),
                error=None,
                lasting=returned,
            )
            ids: tuple[int, ...] = ()
            if held:
                if step.pending or step.reread:
                    await snapshots.drop_pending(conn, page.id)
                await keeping.reread(conn, step)
                if returned:
                    back = page_change("new_page", page.url, page.page_type)
                    ids = await keeping.store(conn, page, [back])
        outcome: Outcome = "noise" if verdict.kind == "noise" else "unchanged"
        return _checked(page, "changed" if ids else outcome, step.answer, ids, held=held)

    async def _change(self, step: Step, verdict: Judgement, share: float) -> Checked:
        """Store a confirmed change together with the baseline that moves."""
        page = step.page
        found = await anyio.to_thread.run_sync(changes_of, step, verdict, share)
        if self._summing is not None:
            found = [await self._summing.sum_up(page, change) for change in found]
        screenshot = None if step.rendered is None else step.rendered.screenshot_url
        noted = replace(page, noise=verdict.rules.to_json())
        row = equal_to(noted, step.answer, step.reading, step.rendered)
        ids: tuple[int, ...] = ()
        async with self._db.transaction() as conn:
            held = await pages.finish(
                conn, row, step.token, next_s=self._next_s(page), error=None, changed=bool(found)
            )
            if held:
                await snapshots.drop_pending(conn, page.id)
                await snapshots.retire_baseline(conn, page.id)
                await keeping.add(
                    conn,
                    page,
                    step.answer,
                    step.rendered,
                    step.reading,
                    step.html,
                    state="baseline",
                )
                await snapshots.prune(conn, page.id, keep=self._settings.intel_keep_snapshots)
                ids = await keeping.store(
                    conn, page, found, (step.baseline.screenshot_url, screenshot)
                )
        return _checked(page, "changed" if found else "noise", step.answer, ids, held=held)

    def _next_s(self, page: PageRow, *, learning: int = 0) -> float:
        if learning:
            return self._settings.intel_confirm_s
        # Pages that were added together do not stay together.
        return page.check_every_s * random.uniform(0.95, 1.05)  # noqa: S311


def _checked(
    page: PageRow,
    outcome: Outcome,
    answer: Answer | None,
    ids: tuple[int, ...] = (),
    *,
    held: bool,
    detail: str | None = None,
) -> Checked:
    return Checked(
        page_id=page.id,
        url=page.url,
        outcome=outcome if held else "lost",
        status=None if answer is None else answer.status,
        changes=ids,
        detail=detail,
    )
