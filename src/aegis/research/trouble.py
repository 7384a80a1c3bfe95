"""What goes wrong at a provider, and what may be done about it."""

from __future__ import annotations

from aegis.errors import Unavailable

__all__ = ["Trouble"]


class Trouble(Unavailable):
    """A provider did not do what it was asked; the message is one line without any secret.

    `retry`: it is worth asking again. `uncertain`: the request may have been taken on, and be
    paid, although there is no answer.
    """

    code = "research_unavailable"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry: bool = True,
        uncertain: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.retry = retry
        self.uncertain = uncertain
        self.retry_after_s = retry_after_s
