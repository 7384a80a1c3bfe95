"""What Claude Code tells a hook, reduced to what is kept. Pure, and cheap to import.

Tool inputs and results hold files and secrets: of them only the tool, the file, the command and
the error are kept, shortened, credentials removed. A field of another type than expected counts
as absent: the format is the agent's own, and changes.
"""

from __future__ import annotations

import json
from typing import Any

from aegis.redaction import redact

__all__ = ["ANSWERED", "MAX_SAID", "Unreadable", "reduce_payload"]

#: Events that are answered with memories.
ANSWERED = ("SessionStart", "UserPromptSubmit")
#: Characters of a prompt or an answer, and of a command or an error.
MAX_SAID, MAX_DONE = 8_000, 2_000
_MAX_NAME, _MAX_PATH = 200, 1_000
#: Where a tool's input names the file that it touches, and what says best what it does.
_PATHS = ("file_path", "notebook_path", "path")
_DOES = ("command", "url", "query", "pattern", "subject", "description")
#: Where an event says something in words.
_SAYS = {
    "UserPromptSubmit": "prompt",
    "Stop": "last_assistant_message",
    "SubagentStop": "last_assistant_message",
    "StopFailure": "error",
    "PostToolUseFailure": "error",
    "Notification": "message",
    "PostCompact": "compact_summary",
    "PreCompact": "custom_instructions",
}
_DETAILS = ("source", "reason", "trigger", "permission_mode", "notification_type", "tool_use_id",
            "prompt_id", "task_id", "error_details")  # fmt: skip


class Unreadable(ValueError):
    """There is nothing in the input that could be kept; says why."""


def reduce_payload(
    raw: bytes, event: str | None, *, key: str, at: float, namespace: str, user: str | None
) -> dict[str, Any]:
    """Return what is kept of the JSON in `raw`, a flat object.

    `event` replaces the name that the JSON gives; `key` tells it from all others where nothing in
    it does; `at` is seconds since 1970.

    Raises:
        Unreadable: it is no JSON object, or names no session or no event.
    """
    given = _parse(raw)
    session_id = _text(given, "session_id", 100)
    name = _stored((event or "")[:_MAX_NAME]) or _text(given, "hook_event_name", _MAX_NAME)
    if not session_id or not name:
        raise Unreadable("The input names no session_id or no event.")
    kept: dict[str, Any] = {
        "key": _key(given, name, key),
        "event": name,
        "at": at,
        "session_id": session_id,
        "namespace": namespace,
        "user": user,
        "agent_id": _text(given, "agent_id", 60),
        "agent_type": _text(given, "agent_type", _MAX_NAME),
        "cwd": _text(given, "cwd", _MAX_PATH),
        "transcript_path": _path(given, "transcript_path"),
        "agent_transcript_path": _path(given, "agent_transcript_path"),
        "model": _text(given, "model", _MAX_NAME),
        "title": _text(given, "session_title", _MAX_NAME),
        "interrupted": given.get("is_interrupt") is True or None,
    }
    details: dict[str, Any] = {n: _text(given, n, _MAX_NAME) for n in _DETAILS}
    duration = given.get("duration_ms")
    if isinstance(duration, int | float) and not isinstance(duration, bool) and duration < 2**53:
        details["duration_ms"] = duration
    kept["details"] = {n: v for n, v in details.items() if v is not None}
    kept |= _of_tool(given) | _said(given, name)
    return {n: v for n, v in kept.items() if v is not None and v != {}}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        given: Any = json.loads(raw.decode(errors="replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The input is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Unreadable("The input is no JSON object.")
    return given  # pyright: ignore[reportUnknownVariableType]


def _key(given: dict[str, Any], event: str, key: str) -> str:
    """Return the same key for the same event where two hooks were told of it."""
    tool_use = _text(given, "tool_use_id", _MAX_NAME)
    if tool_use and event in ("PostToolUse", "PostToolUseFailure"):
        return f"tool:{tool_use}"
    prompt = _text(given, "prompt_id", _MAX_NAME)
    if prompt and event == "UserPromptSubmit":
        return f"prompt:{prompt}"
    return f"hook:{key}"


def _of_tool(given: dict[str, Any]) -> dict[str, Any]:
    tool = _text(given, "tool_name", _MAX_NAME)
    if not tool:
        return {}
    taken: Any = given.get("tool_input")
    if not isinstance(taken, dict):
        return {"tool": tool}
    path = next((p for n in _PATHS if (p := _text(taken, n, _MAX_PATH))), None)  # pyright: ignore[reportUnknownArgumentType]
    does = next((t for n in _DOES if (t := _text(taken, n, MAX_DONE))), None)  # pyright: ignore[reportUnknownArgumentType]
    return {"tool": tool, "path": path, "text": redact(does) if does else None}


def _said(given: dict[str, Any], event: str) -> dict[str, Any]:
    field = _SAYS.get(event)
    if field is None:
        return {}
    most = MAX_SAID if event in ("UserPromptSubmit", "Stop", "SubagentStop") else MAX_DONE
    said = _text(given, field, most)
    if not said:
        return {}
    if event == "PostToolUseFailure":
        # Beside the error, what was tried is half of what is worth knowing.
        return {"error": redact(said)}
    return {"text": redact(said)}


def _path(given: dict[str, Any], name: str) -> str | None:
    # One that is cut leads nowhere, or somewhere else.
    text = _text(given, name, 5_000)
    return None if text is None or len(text) > 4_096 else text


def _text(given: dict[str, Any], name: str, most: int) -> str | None:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        return None
    return _stored(value[:most]) or None


def _stored(text: str) -> str:
    """Return text without what PostgreSQL does not store: NULs and half surrogates."""
    return text.replace("\x00", "").encode(errors="replace").decode().strip()
