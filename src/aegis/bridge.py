"""The one way into the event loop of a client from elsewhere: other threads, other loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from aegis.errors import Unavailable

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

__all__ = ["Bridge"]

T = TypeVar("T")


class Bridge:
    """Runs coroutines in one event loop, that in which it is made, for callers from anywhere."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        """Wait for a coroutine function's result, for code without `async`.

        Raises:
            asyncio.InvalidStateError: called in the event loop itself, which would wait for ever.
            Unavailable: the client is closed.
        """
        import asyncio

        if self._here():
            raise asyncio.InvalidStateError(
                "A synchronous call was made in the event loop of its client, which would wait "
                "for itself for ever; await the asynchronous form instead."
            )
        future = self.start(function(*args, **kwargs))
        try:
            return future.result()
        finally:
            # Nothing where it is done; an interrupt ends what nobody waits for any longer.
            future.cancel()

    async def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
    ) -> T:
        """Await a coroutine function in the client's event loop, from any other one, too."""
        import asyncio

        if self._here():
            return await function(*args, **kwargs)
        return await asyncio.wrap_future(self.start(function(*args, **kwargs)))

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine in the client's event loop and return its future (`Unavailable`)."""
        import asyncio

        if self._loop.is_closed() or not self._loop.is_running():
            work.close()
            raise Unavailable("The client is closed; open it again.", code="client_closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _here(self) -> bool:
        import asyncio

        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False
