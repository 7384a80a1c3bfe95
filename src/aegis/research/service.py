"""Research of one client: start, look, wait, cancel; prices and budgets."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound, Unavailable
from aegis.memory.validate import check_choice, check_limit, check_text, namespace_of
from aegis.research import validate
from aegis.research.models import (
    EVERYBODY,
    FINAL,
    PROVIDERS,
    STATUSES,
    JobDetail,
    Price,
    ProviderInfo,
)
from aegis.research.pricing import estimate, prices_for
from aegis.research.pruning import prune
from aegis.research.reading import mapping, text, texts
from aegis.research.starting import Wish, start
from aegis.research.store import jobs as store
from aegis.research.store import money
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aegis.config import Settings
    from aegis.memory import Memory
    from aegis.research.models import Job, Month, Started
    from aegis.research.providers import Provider
    from aegis.research.running import Runner
    from aegis.research.work import ResearchWork

__all__ = ["Research"]

#: Seconds between looks at a job that another process is at, doubled from one to the other.
_SHORTEST_NAP_S, _LONGEST_NAP_S = 0.02, 1.0


def _clock() -> datetime:
    return datetime.now(UTC)


class Research:
    """Research jobs; `now` and `pace` (a factor of every pause) are for those who test.

    `turn` waits until a provider may be asked, before each step that is taken without a worker.
    """

    def __init__(
        self,
        memory: Memory,
        settings: Settings,
        *,
        now: Callable[[], datetime] = _clock,
        pace: float = 1.0,
        turn: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        from aegis.research.asking import Asking

        self._memory = memory
        self._db = memory.database
        self._settings = settings
        self._now = now
        self._pace = pace
        self._turn = turn
        self._asking = Asking()
        self._known: dict[str, Provider] | None = None

    @property
    def namespace(self) -> str:
        """Whose jobs a call without a namespace means."""
        return self._memory.namespace

    async def start(
        self,
        query: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        budget_usd: Decimal | float | str | None = None,
        idempotency_key: str | None = None,
        remember: bool | None = None,
        priority: int = 0,
        again: bool = False,
        namespace: str | None = None,
    ) -> Started:
        """Start a job, or return the recent one that asks the same (`outcome`).

        A worker runs it; `wait` runs it where there is none. `budget_usd` is what it may cost at
        most, and what is kept free for it. `remember` makes its report a memory: yes where it was
        bought, no for `local`. `again` buys it although it was asked before.

        Raises:
            InvalidInput: a value cannot be accepted.
            ConfigError: the provider lacks a key, or a price.
            LimitExceeded: a budget does not allow it.
        """
        chosen = self._provider(provider or self._settings.research_provider)
        usd = self._settings.research_job_usd if budget_usd is None else budget_usd
        wish = Wish(
            query=validate.query(query),
            namespace=namespace_of(namespace, self.namespace),
            model=validate.model(model),
            options=chosen.options(validate.options(options)),
            budget_usd=validate.usd("budget_usd", usd),
            idempotency_key=validate.key(idempotency_key),
            remember=chosen.name != "local" if remember is None else remember,
            priority=validate.priority(priority),
            again=again,
        )
        return await start(self._memory, self._settings, chosen, wish, now=self._now())

    async def status(self, job_id: str, *, namespace: str | None = None) -> Job:
        """Return a job without its report (`NotFound`)."""
        place = namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.get_job(conn, validate.job_id(job_id), namespace=place)

    async def get(self, job_id: str, *, namespace: str | None = None) -> JobDetail:
        """Return a job with its report, sources, citations and calls (`NotFound`)."""
        place = namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            job = await store.get_job(conn, validate.job_id(job_id), namespace=place)
            result: Any = mapping(await store.find_result(conn, job.id))
            return JobDetail(
                job=job,
                markdown=text(result.get("markdown")),
                warnings=texts(result.get("warnings")),
                sources=await store.list_sources(conn, job.id),
                citations=await store.list_citations(conn, job.id),
                calls=await store.list_calls(conn, job.id),
            )

    async def list(
        self,
        *,
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
        status: Sequence[str] = (),
        provider: str | None = None,
        namespace: str | None = None,
    ) -> builtins.list[Job]:
        """Return a page of jobs, the newest first.

        `before` is the time of creation and the id of the last job of the page before this one.
        """
        check_limit("limit", limit, most=1_000)
        for each in status:
            check_choice("status", each, STATUSES)
        if provider is not None:
            check_choice("provider", provider, PROVIDERS)
        place = namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.list_jobs(
                conn,
                namespace=place,
                statuses=status,
                provider=provider,
                before=before,
                limit=limit,
            )

    async def cancel(self, job_id: str, *, namespace: str | None = None) -> Job:
        """Have a job end: a worker, or `wait`, ends it at the provider where it can be ended.

        A job that has ended is left as it is. What it cost until then is paid.
        """
        job = await self.status(job_id, namespace=namespace)
        if job.status not in FINAL:
            async with self._db.transaction() as conn:
                await store.cancel_job(conn, job.id)
            job = await self.status(job_id, namespace=namespace)
        return job

    async def delete(self, job_id: str, *, namespace: str | None = None) -> None:
        """Delete a job that has ended, with its report; its memory and the budget's sums stay.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is going on.
        """
        job = await self.status(job_id, namespace=namespace)
        async with audited(self._db) as conn:
            if await store.delete_job(conn, job.id, namespace=job.namespace) == 0:
                raise Conflict(f"Research job {job.id} is going on; cancel it first.")
            note(conn, "research.delete", "research", job.id, namespace=Private(job.namespace))

    async def prune(self, *, keep_days: float) -> int:
        """Delete jobs of every namespace that ended longer ago, with reports; return how many.

        Their memories and the months' sums stay, as do rows that other programs wrote.
        """
        return await prune(self._db, keep_days=keep_days)

    async def wait(
        self,
        job_id: str,
        *,
        within_s: float | None = None,
        patience_s: float = 0.0,
        namespace: str | None = None,
        on_progress: Callable[[Job], object] | None = None,
    ) -> JobDetail:
        """Return a job with its report once it has ended, running it where no worker does.

        A step is taken here once it has been due for `patience_s`; one that is under way here is
        ended before `within_s` counts.

        Raises:
            NotFound: there is none of this id.
            Unavailable: it has not ended `within_s`; it goes on.
        """
        until = None if within_s is None else asyncio.get_running_loop().time() + within_s
        nap_s = _SHORTEST_NAP_S
        while True:
            job = await self.status(job_id, namespace=namespace)
            if on_progress is not None:
                on_progress(job)
            if job.next_poll_at is None:
                return await self.get(job_id, namespace=namespace)
            ahead = (job.next_poll_at - self._now()).total_seconds()
            # Whether it is due the server says: this machine's clock may be wrong.
            mine = patience_s <= 0 or ahead <= -patience_s
            if mine and await self.run_due(only=job.id):
                nap_s = _SHORTEST_NAP_S
                continue
            if until is not None and asyncio.get_running_loop().time() >= until:
                raise Unavailable(
                    f"Research job {job.id} has not ended yet; it goes on.", code="research_running"
                )
            await asyncio.sleep(min(max(ahead, nap_s), _LONGEST_NAP_S))
            nap_s = min(nap_s * 2, _LONGEST_NAP_S)

    async def run_due(self, *, only: str | None = None) -> int:
        """Take the next step of one due job, or of the one named, and return how many that were."""
        from aegis.research.stepping import take_step

        return await take_step(self.work(), only=only, turn=self._turn)

    def work(self) -> ResearchWork:
        """Return what a worker runs."""
        from aegis.research.work import ResearchWork

        return ResearchWork(self._db, self.runner())

    def runner(self) -> Runner:
        """Return what takes the steps of jobs."""
        from aegis.research.running import Runner

        return Runner(self._memory, self.providers_by_name(), now=self._now, pace=self._pace)

    async def aclose(self) -> None:
        """Close the connections to providers; the next request opens new ones."""
        await self._asking.aclose()

    async def providers(self) -> builtins.list[ProviderInfo]:
        """Return who can be asked, what is missing, and what a job of usual size costs there."""
        async with self._db.transaction() as conn:
            prices = await money.list_prices(conn)
        found: list[ProviderInfo] = []
        for one in self.providers_by_name().values():
            fitting = prices_for(prices, provider=one.name, model=one.model, on=self._now().date())
            found.append(
                ProviderInfo(
                    name=one.name,
                    ready=not one.missing(),
                    model=one.model,
                    url=one.url,
                    ceiling_s=one.ceilings.total_s,
                    estimate_usd=estimate(one.name, fitting).usd,
                    restart=one.restart,
                    missing=one.missing(),
                )
            )
        return found

    async def budget(
        self, *, month: date | None = None, namespace: str | None = None
    ) -> builtins.list[Month]:
        """Return the month's budgets: of all namespaces together, then of the namespace."""
        chosen = (month or self._now().date()).replace(day=1)
        place = namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            everybody = await money.get_month(conn, EVERYBODY, chosen)
            own = await money.get_month(conn, place, chosen)
        if everybody.limit_usd is None:
            from dataclasses import replace

            usual = Decimal(str(self._settings.research_month_usd))
            everybody = replace(everybody, limit_usd=usual)
        return [everybody, own]

    async def set_budget(
        self,
        month_usd: Decimal | float | str | None,
        *,
        namespace: str | None = None,
        everybody: bool = False,
    ) -> builtins.list[Month]:
        """Set what a namespace, or everybody, may spend in a month; None takes the limit away."""
        place = EVERYBODY if everybody else namespace_of(namespace, self.namespace)
        usd = None if month_usd is None else validate.usd("month_usd", month_usd)
        async with audited(self._db) as conn:
            if usd is None:
                if await money.delete_budget(conn, place) == 0:
                    raise NotFound(f"There is no budget of {place!r}.")
            else:
                await money.set_budget(conn, place, usd)
            note(conn, "research.budget_set", "budget", Private(place), month_usd=usd)
        return await self.budget(namespace=namespace)

    async def prices(self, *, provider: str | None = None) -> builtins.list[Price]:
        """Return the prices that are known, with their days and sources."""
        if provider is not None:
            check_choice("provider", provider, PROVIDERS)
        async with self._db.transaction() as conn:
            return await money.list_prices(conn, provider=provider)

    async def set_price(
        self,
        provider: str,
        model: str,
        meter: str,
        usd: Decimal | float | str,
        *,
        per: int,
        source: str,
        valid_from: date | None = None,
        source_date: date | None = None,
    ) -> Price:
        """Store what a meter of a model costs from a day on, today if None.

        Jobs that started before keep the price of their day, unless the day given is before.
        """
        today = self._now().date()
        price = validate.price(
            Price(
                provider=provider,
                model=model,
                meter=meter,  # pyright: ignore[reportArgumentType] (checked there)
                valid_from=valid_from or today,
                usd=validate.usd("usd", usd),
                per=per,
                source=source,
                source_date=source_date or today,
            )
        )
        async with audited(self._db) as conn:
            await money.set_price(conn, price)
            note(
                conn,
                "research.price_set",
                "provider",
                provider,
                model=model,
                meter=meter,
                usd=price.usd,
                per=per,
                valid_from=price.valid_from,
            )
        return price

    def providers_by_name(self) -> dict[str, Provider]:
        """Return everybody who can be asked, by name; nothing is opened yet."""
        if self._known is None:
            from aegis.research.providers.claude import Claude
            from aegis.research.providers.gemini import Gemini
            from aegis.research.providers.local import Local
            from aegis.research.providers.perplexity import Perplexity

            self._known = {
                "local": Local(self._memory),
                "gemini": Gemini(self._settings, self._asking),
                "perplexity": Perplexity(self._settings, self._asking),
                "claude": Claude(self._settings, self._asking),
            }
        return self._known

    def _provider(self, name: str) -> Provider:
        check_text("provider", name, most=50)
        try:
            return self.providers_by_name()[name]
        except KeyError:
            raise InvalidInput(
                f"provider is {name!r}; use one of {', '.join(PROVIDERS)}."
            ) from None
