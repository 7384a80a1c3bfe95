"""What every tool is made with: annotations, types of arguments, its answer and its errors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

from aegis.errors import AegisError, InvalidInput, PermissionDenied
from aegis.memory.binding import bound, bounds, home, require
from aegis.memory.models import FEEDBACK, IMPORTANCE, METRICS, MODES, ON_CONFLICT, OUTCOMES
from aegis.memory.validate import parse_time
from aegis.security.audit.actor import Actor, acting_as, actor
from aegis.wire.plain import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from datetime import datetime

__all__ = [
    "ADDS",
    "CHANGES",
    "DELETES",
    "OPERATORS",
    "READS",
    "UNDOES",
    "Cursor",
    "EpisodeId",
    "ImportanceText",
    "LeastImportance",
    "Limit",
    "MaybeFeedback",
    "MaybeImportance",
    "MaybeOutcome",
    "MaybeTime",
    "MetricText",
    "ModeText",
    "Namespace",
    "OnConflictText",
    "OutcomeText",
    "answer",
    "make_tool",
    "maybe_time",
    "named",
    "told",
]

_PREVIEW = 60

#: Tools with a namespace that are the operator's all the same: they ask a language model.
OPERATORS = frozenset({"memory_graphiti_sync"})

READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
#: An update replaces what was there.
CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
DELETES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
#: A second call takes back one step more.
UNDOES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
)


def _choice(choices: tuple[str, ...], description: str, *, optional: bool = False) -> Any:
    allowed: Any = [*choices, None] if optional else [*choices]
    return Field(description=description, json_schema_extra={"enum": allowed})


# A choice is text here and an enumeration in the schema: what it may be is the domain's to say,
# in one line. Optional ones are described at their outside, where a model reads.
ImportanceText = Annotated[str, _choice(IMPORTANCE, "How important it is.")]
MaybeImportance = Annotated[str | None, _choice(IMPORTANCE, "Its importance.", optional=True)]
LeastImportance = Annotated[
    str | None, _choice(IMPORTANCE, "At least this important.", optional=True)
]
ModeText = Annotated[str, _choice(MODES, "hybrid unless you know better.")]
MetricText = Annotated[str, _choice(METRICS, "Distance of mode vector.")]
OutcomeText = Annotated[str, _choice(OUTCOMES[1:], "How it turned out.")]
MaybeOutcome = Annotated[str | None, _choice(OUTCOMES, "How it turned out.", optional=True)]
MaybeFeedback = Annotated[str | None, _choice(FEEDBACK, "What the user said to it.", optional=True)]
OnConflictText = Annotated[
    str, _choice(ON_CONFLICT, "What becomes of known facts that it contradicts.")
]
MaybeTime = Annotated[
    str | None, Field(description="ISO 8601 with a zone: 2026-05-01T09:00:00+00:00.")
]
Namespace = Annotated[str | None, Field(description="Whose memory; leave out for the default.")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before.")]
EpisodeId = Annotated[int, Field(description="Id of the episode.")]
Limit = Annotated[int, Field(description="How many to return, 1 to 1000.")]


@contextmanager
def told() -> Generator[None]:
    """Run a block and let the model read an error of ours in one line."""
    try:
        yield
    except AegisError as error:
        raise ToolError(f"{error.told} [{error.code}]") from error


class _Tool(Tool):
    """A tool whose arguments are refused in one line."""

    async def run(
        self, arguments: dict[str, Any], context: Any, convert_result: bool = False
    ) -> Any:
        """Run the tool (`ToolError`)."""
        try:
            with acting_as(_caller()), told(), self._bounded(arguments.get("namespace")):
                return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            wrong = [self._wrong(item) for item in error.__cause__.errors()[:3]]
            raise ToolError(f"{'; '.join(wrong)}. [{InvalidInput.code}]") from error

    @contextmanager
    def _bounded(self, namespace: Any) -> Generator[None]:
        """Keep a bound key to its namespaces: tools that take none are not for it."""
        now = bounds()
        if now is None:
            yield
            return
        if "namespace" not in self.parameters["properties"] or self.name in OPERATORS:
            raise PermissionDenied(
                f"The key is bound to {', '.join(now.namespaces)}; {self.name} is not about one "
                "of them.",
                code="namespace_denied",
            )
        reads = self.annotations is not None and self.annotations.read_only_hint
        with bound(replace(now, writes=not reads)):
            require(namespace) if isinstance(namespace, str) else home("")
            yield

    def _wrong(self, item: Any) -> str:
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "missing":
            return f"{name} is missing"
        if item["type"] == "extra_forbidden":
            known = ", ".join(self.parameters["properties"])
            return f"{name!r} is no argument of {self.name}; use {known}"
        given, message = repr(item["input"]), str(item["msg"])
        shown = given if len(given) <= _PREVIEW else given[: _PREVIEW - 1] + "…"
        return f"{name} is {shown}; {message[:1].lower()}{message[1:]}"


def _caller() -> Actor:
    """Return who calls a tool: over HTTP whom the guard let in, else whoever started us."""
    known = actor()
    if known.face == "http":
        return replace(known, face="mcp")
    return Actor(kind="mcp", face="mcp")


def make_tool(
    function: Callable[..., Awaitable[CallToolResult]], annotations: ToolAnnotations, title: str
) -> Tool:
    """Return a tool that is called as its function is, and refuses arguments it does not know."""
    tool = _Tool.from_function(
        function, title=title, annotations=annotations, structured_output=False
    )
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters = arguments.model_json_schema(by_alias=True)
    return tool


def answer(value: Any) -> CallToolResult:
    """Return `value` as structured content and as compact text; what is absent is left out."""
    document = _present(plain(value))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(text=text)], structured_content=document)


def named(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that were given: those that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}


def maybe_time(name: str, text: str | None) -> datetime | None:
    """Return the time that `text` says, None for none (`InvalidInput`)."""
    return None if text is None else parse_time(name, text)


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _present(v) for k, v in value.items() if v is not None and v != []}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_present(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
