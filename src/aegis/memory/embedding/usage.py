"""What calls of an endpoint came to, counted in memory until somebody writes it down."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["MAX_TOKENS", "Usage", "tokens_answered"]

#: More than any request may hold; an answer that says more is not believed.
MAX_TOKENS = 10_000_000


@dataclass(slots=True, kw_only=True)
class Usage:
    """Counters since they were last taken."""

    #: Requests that were answered.
    calls: int = 0
    texts: int = 0
    #: As the endpoint says; estimated where it does not.
    tokens: int = 0
    #: Requests that ended in an error, with all their retries.
    failures: int = 0
    last_error: str | None = None

    def count(self, *, texts: int, tokens: int) -> None:
        """Count an answered request."""
        self.calls += 1
        self.texts += texts
        self.tokens += tokens

    def fail(self, why: str) -> None:
        """Count a request that was given up."""
        self.failures += 1
        self.last_error = why[:500]

    def take(self) -> Usage | None:
        """Return the counters and start again from zero; None where nothing was counted."""
        if not self.calls and not self.failures:
            return None
        taken = replace(self)
        self.calls = self.texts = self.tokens = self.failures = 0
        self.last_error = None
        return taken

    def give_back(self, taken: Usage) -> None:
        """Add what was taken and could not be written down."""
        self.calls += taken.calls
        self.texts += taken.texts
        self.tokens += taken.tokens
        self.failures += taken.failures
        self.last_error = self.last_error or taken.last_error


def tokens_answered(answer: object) -> int | None:
    """Return the tokens that an answer says it used; None where it says nothing credible."""
    usage: object = answer.get("usage") if isinstance(answer, dict) else None  # pyright: ignore
    if not isinstance(usage, dict):
        return None
    for name in ("total_tokens", "prompt_tokens"):
        value: object = usage.get(name)  # pyright: ignore
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS:
            return value
    return None
