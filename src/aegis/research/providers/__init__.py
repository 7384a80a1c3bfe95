"""Who looks into a question: one small protocol, and a module for each provider.

A provider knows its HTTP and its formats; what is written down, when, and what may be paid again is
decided by `aegis.research.running`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.research.models import JobRow, Progress, ProviderName

__all__ = ["Ceilings", "Provider", "Restart"]

#: What may be done about a paid request whose answer was not stored: send it again under the same
#: key, which is paid once, or not at all.
Restart = Literal["same_key", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """How long a provider is waited for, in seconds."""

    #: From the start of a job to its end.
    total_s: float
    #: For one request.
    request_s: float
    #: Between two polls, at first and at most.
    poll_s: float
    longest_poll_s: float


class Provider(Protocol):
    """Somebody who looks into a question. Methods that ask raise `Trouble` or `ConfigError`."""

    @property
    def name(self) -> ProviderName:
        """Its name."""
        ...

    @property
    def ceilings(self) -> Ceilings:
        """How long it is waited for."""
        ...

    @property
    def restart(self) -> Restart:
        """What a restart may do about a paid request without an answer."""
        ...

    @property
    def model(self) -> str | None:
        """The model or agent that is asked for where a job names none."""
        ...

    @property
    def url(self) -> str | None:
        """Where it is asked."""
        ...

    def missing(self) -> list[str]:
        """Return the settings that it needs and does not have."""
        ...

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a job that it knows (`InvalidInput` for others)."""
        ...

    def pays_next(self, job: JobRow) -> bool:
        """Tell whether the next request of a job is one that is paid."""
        ...

    async def start(self, job: JobRow, *, now: datetime) -> Progress:
        """Send the job to the provider."""
        ...

    async def poll(self, job: JobRow, *, now: datetime) -> Progress:
        """Ask how a started job stands, or go on with it."""
        ...

    async def cancel(self, job: JobRow, *, now: datetime) -> bool:
        """End a job at the provider; False where it cannot be ended there."""
        ...

    def parse(self, document: dict[str, Any]) -> Progress:
        """Return what an answer of the provider says. Pure."""
        ...
