"""Perplexity's Sonar Deep Research over its asynchronous API, and its Agent API.

The path is a setting: `/v1/async/sonar` as documented now, `/async/chat/completions` before; bodies
are the same. A start carries the job's id as `idempotency_key`, so that it may be sent again. What
has started cannot be ended there: it is read to its end, since it is paid. `/v1/responses` is the
Agent API (`perplexity_agent`): it can be cancelled, and knows no key, so that a start without an
answer is not sent again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aegis.errors import InvalidInput
from aegis.research.models import Call, Citation, Meter, Progress, Report, Source
from aegis.research.providers import Ceilings, perplexity_agent
from aegis.research.reading import amount, items, mapping, money, text
from aegis.research.trouble import Trouble

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.config import Settings
    from aegis.research.asking import Asking, Endpoint
    from aegis.research.models import JobRow, ProviderName
    from aegis.research.providers import Restart

__all__ = ["Perplexity"]

_THOUGHTS: Final = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
_MARK: Final = re.compile(r"\[(\d{1,4})\](?!\()")
_CHOICES: Final = {
    "reasoning_effort": ("minimal", "low", "medium", "high"),
    "search_mode": ("web", "academic", "sec"),
    "search_recency_filter": ("hour", "day", "week", "month", "year"),
}


class Perplexity:
    """Sonar Deep Research of Perplexity."""

    name: ProviderName = "perplexity"
    ceilings = Ceilings(total_s=60 * 60.0, request_s=60.0, poll_s=5.0, longest_poll_s=30.0)

    def __init__(self, settings: Settings, asking: Asking) -> None:
        from aegis.research.asking import Endpoint

        key = settings.research_perplexity_api_key
        self.model: str | None = settings.research_perplexity_model
        self.url: str | None = settings.research_perplexity_url
        self._path = settings.research_perplexity_path
        self._agent = perplexity_agent.is_agent(self._path)
        self.restart: Restart = "never" if self._agent else "same_key"
        self._asking = asking
        self._endpoint: Endpoint = Endpoint(
            name="Perplexity",
            base=settings.research_perplexity_url,
            headers={"Authorization": f"Bearer {key or ''}"},
            key_setting="AEGIS_RESEARCH_PERPLEXITY_API_KEY",
            key=key,
        )

    def missing(self) -> list[str]:
        """Return the settings that are needed and missing."""
        return [] if self._endpoint.key else [self._endpoint.key_setting]

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options that it knows, named as its API names them."""
        if self._agent:
            return _agent_options(given)
        for name, value in given.items():
            if name == "search_domain_filter":
                if isinstance(value, list) and all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType]
                    continue
            elif value in _CHOICES.get(name, ()):
                continue
            known = "; ".join(f"{n}: {', '.join(c)}" for n, c in _CHOICES.items())
            raise InvalidInput(
                f"option {name!r} is {value!r:.60}; perplexity takes {known}; "
                "search_domain_filter: a list of hosts."
            )
        return given

    def pays_next(self, job: JobRow) -> bool:
        """Only the start is paid."""
        return job.remote_id is None

    async def start(self, job: JobRow, *, now: datetime) -> Progress:
        """Send the question under the job's own key."""
        request: dict[str, Any] = {
            "model": job.model,
            "messages": [{"role": "user", "content": job.query}],
            **(job.options or {}),
        }
        body: dict[str, Any] = {"request": request, "idempotency_key": job.id}
        document = await self._asking.ask(
            self._endpoint,
            "POST",
            self._path,
            body=perplexity_agent.request(job) if self._agent else body,
            timeout_s=self.ceilings.request_s,
            exact=True,
            now=now,
        )
        if text(document.get("id")) is None:
            raise Trouble("Perplexity's answer to the start has no id.", uncertain=True)
        return self.parse(document)

    async def poll(self, job: JobRow, *, now: datetime) -> Progress:
        """Read the job."""
        document = await self._asking.ask(
            self._endpoint,
            "GET",
            f"{self._path.rstrip('/')}/{quote(job.remote_id or '', safe='')}",
            timeout_s=self.ceilings.request_s,
            exact=True,
            now=now,
        )
        return self.parse(document)

    async def cancel(self, job: JobRow, *, now: datetime) -> bool:
        """Cancel a response of the Agent API; the other has no way to end a job."""
        if not self._agent:
            return False
        await self._asking.ask(
            self._endpoint,
            "POST",
            f"{self._path.rstrip('/')}/{quote(job.remote_id or '', safe='')}/cancel",
            body={},
            timeout_s=self.ceilings.request_s,
            now=now,
        )
        return True

    def parse(self, document: dict[str, Any]) -> Progress:
        """Return what a job of the API says."""
        if self._agent:
            return perplexity_agent.parse(document)
        remote_id = text(document.get("id"))
        status = str(document.get("status")).upper()
        response = mapping(document.get("response"))
        calls = _calls(response, remote_id)
        if status == "FAILED":
            why = text(document.get("error_message")) or "no reason was given"
            return Progress(
                state="failed",
                remote_id=remote_id,
                calls=calls,
                error=f"Perplexity failed: {why}",
                error_code="research_failed",
            )
        if status != "COMPLETED":
            return Progress(state="running", remote_id=remote_id, poll_after_s=5.0)
        report = _report(response)
        if report is None:
            return Progress(
                state="failed",
                remote_id=remote_id,
                calls=calls,
                error="Perplexity completed it without a report.",
                error_code="research_empty",
            )
        return Progress(state="completed", remote_id=remote_id, calls=calls, report=report)


def _agent_options(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name == "preset" and isinstance(value, str) and 0 < len(value) <= 100:
            continue
        steps: Any = value
        whole = isinstance(steps, int) and not isinstance(steps, bool)
        if name == "max_steps" and whole and 1 <= steps <= 100:
            continue
        raise InvalidInput(
            f"option {name!r} is {value!r:.60}; perplexity's Agent API takes preset: a name; "
            "max_steps: 1 to 100."
        )
    return given


def _calls(response: dict[str, Any], remote_id: str | None) -> tuple[Call, ...]:
    usage = mapping(response.get("usage"))
    if not usage:
        return ()
    counted: dict[Meter, int] = {
        "input_tokens": amount(usage.get("prompt_tokens")),
        "output_tokens": amount(usage.get("completion_tokens")),
        "citation_tokens": amount(usage.get("citation_tokens")),
        "reasoning_tokens": amount(usage.get("reasoning_tokens")),
        "searches": amount(usage.get("num_search_queries")),
    }
    given = money(mapping(usage.get("cost")).get("total_cost"))
    model = text(response.get("model"))
    return (Call(key=remote_id or "job", usage=counted, model=model, given_usd=given),)


def _report(response: dict[str, Any]) -> Report | None:
    choices = items(response.get("choices"))
    choice = choices[0] if choices else {}
    content = mapping(choice.get("message")).get("content")
    body = _THOUGHTS.sub("", content) if isinstance(content, str) else ""
    if not body.strip():
        return None
    raw = response.get("citations")
    urls = [u for u in raw if isinstance(u, str)] if isinstance(raw, list) else []  # pyright: ignore[reportUnknownVariableType]
    results = [
        Source(
            url=text(one.get("url")),
            title=text(one.get("title")),
            snippet=text(one.get("snippet")),
            published=text(one.get("date")) or text(one.get("last_updated")),
        )
        for one in items(response.get("search_results"))
    ]
    # Marks count the list of citations; older answers have it alone, newer ones may lack it.
    numbered = urls or [source.url or "" for source in results]
    sources = [*results, *(Source(url=url) for url in urls)]
    finish = text(choice.get("finish_reason"))
    warnings = (f"Perplexity ended early: {finish}.",) if finish not in (None, "stop") else ()
    return Report(
        text=body,
        sources=tuple(sources),
        citations=tuple(_marks(body, numbered)),
        warnings=warnings,
        model=text(response.get("model")),
    )


def _marks(body: str, urls: list[str]) -> list[Citation]:
    """Return a citation for each `[3]`; one without a source of that number names none."""
    found: list[Citation] = []
    for match in _MARK.finditer(body):
        number = int(match[1])
        known = 1 <= number <= len(urls)
        found.append(
            Citation(
                url=urls[number - 1] if known else None,
                title=None if known else match[0],
                start_char=match.start(),
                end_char=match.end(),
            )
        )
    return found
