"""Python functions as nodes: registered by name, with `async` or without.

    from aegis.workflows import task

    @task("send_report")
    async def send_report(address: str, text: str, *, step: Step) -> str: ...

Arguments are the node's `arguments`; one called `step` gets the `Step`. Functions without `async`
run in a thread, which a time-out cannot stop: it is abandoned, and counts until it ends. A worker
knows the functions of the modules it imported and those of the entry-point group `aegis.tasks`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import anyio

from aegis.errors import InvalidInput, NotFound
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Step

__all__ = ["ENTRY_POINTS", "Task", "find_task", "task"]

ENTRY_POINTS: Final = "aegis.tasks"
#: Threads that functions without `async` may hold at once.
_THREADS = 16

F = TypeVar("F", bound="Callable[..., Any]")

_tasks: dict[str, Callable[..., Any]] = {}


def task(name: str | None = None) -> Callable[[F], F]:
    """Register a function for nodes of type `task`, under its own name if none is given.

    Raises:
        InvalidInput: another function has the name.
    """

    def register(function: F) -> F:
        called = name or function.__name__
        known = _tasks.get(called)
        # A module that is loaded again registers its functions again.
        if known is not None and known.__qualname__ != function.__qualname__:
            raise InvalidInput(f"There is a task {called!r} already; choose another name.")
        _tasks[called] = function
        return function

    return register


def find_task(name: str) -> Callable[..., Any]:
    """Return a registered function.

    Raises:
        NotFound: there is none in this process; the message says where it is looked for
            (`workflow_task`).
    """
    found = _tasks.get(name) or _entry(name)
    if found is None:
        raise NotFound(
            f"This worker knows no task {name!r}; import the module that registers it, or name it "
            f"in the entry points {ENTRY_POINTS!r}.",
            code="workflow_task",
        )
    return found


@functools.cache
def _entry(name: str) -> Callable[..., Any] | None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return entry.load()
    return None


class Task(Kind):
    """Calls a registered function."""

    name = "task"
    doc = "Calls a Python function that was registered with `aegis.workflows.task`."
    result = "What the function returns, which JSON can say."
    params: ClassVar[Mapping[str, Param]] = {
        "function": Param("text", "Its name.", required=True, least=1, most=200, literal=True),
        "arguments": Param("object", "Its arguments by name."),
    }

    async def act(self, step: Step, **params: Any) -> JSON:
        """Call it; what it raises is the step's failure."""
        function = find_task(params["function"])
        arguments: dict[str, Any] = dict(params["arguments"] or {})
        signature = inspect.signature(function)
        if "step" in signature.parameters and "step" not in arguments:
            arguments["step"] = step
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise InvalidInput(
                f"Task {params['function']}: {error}; its arguments are {signature}.",
                code="workflow_parameter",
            ) from None
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        found = await anyio.to_thread.run_sync(
            functools.partial(function, **arguments), abandon_on_cancel=True, limiter=_limiter()
        )
        # A function without `async` may still return something to wait for.
        return await found if inspect.isawaitable(found) else found


@functools.cache
def _limiter_of(_loop: object) -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(_THREADS)


def _limiter() -> anyio.CapacityLimiter:
    import asyncio

    return _limiter_of(asyncio.get_running_loop())
