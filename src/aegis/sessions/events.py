"""Events out of a spool or a request, checked: they passed through a file that anybody may edit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from aegis.errors import InvalidInput
from aegis.memory.validate import check_json_object, check_namespace
from aegis.sessions.models import NewEvent

__all__ = ["MAX_SESSION_ID", "read_record"]

MAX_SESSION_ID = 100
#: Name → characters at most.
_TEXTS = {
    "key": 300, "event": 200, "session_id": MAX_SESSION_ID, "namespace": 200, "user": 100,
    "agent_id": 60, "agent_type": 200, "cwd": 1_000, "model": 200, "title": 200, "tool": 200,
    "path": 1_000, "text": 8_000, "error": 2_000, "transcript_path": 4_096,
    "agent_transcript_path": 4_096,
}  # fmt: skip
_REQUIRED = ("key", "event", "session_id", "namespace")
_OTHERS = {"at", "details", "interrupted"}


def read_record(record: Any) -> NewEvent:
    """Return the event that a record of `payload.reduce_payload` holds.

    Raises:
        InvalidInput: it holds none.
    """
    if not isinstance(record, dict):
        raise InvalidInput("An event is a JSON object.")
    given = cast("dict[str, Any]", record)
    unknown = sorted(set(given) - set(_TEXTS) - _OTHERS)
    if unknown:
        raise InvalidInput(f"{unknown[0]!r:.60} is no field of an event.")
    texts = {name: _text(given, name, most) for name, most in _TEXTS.items()}
    missing = [name for name in _REQUIRED if texts[name] is None]
    if missing:
        raise InvalidInput(f"An event needs {', '.join(missing)}.")
    details: Any = given.get("details")
    check_json_object("details", details)
    check_namespace(texts["namespace"])
    session_id, parent, transcript = _whose(texts)
    return NewEvent(
        key=texts["key"] or "",
        event=texts["event"] or "",
        at=_time(given.get("at")),
        session_id=session_id,
        namespace=texts["namespace"] or "",
        parent=parent,
        user_id=texts["user"],
        agent_type=texts["agent_type"] if parent else None,
        cwd=texts["cwd"],
        model=texts["model"],
        title=None if parent else texts["title"],
        transcript_path=transcript,
        tool=texts["tool"],
        path=texts["path"],
        failed=texts["event"] == "PostToolUseFailure",
        interrupted=given.get("interrupted") is True,
        text=_said(texts),
        details=details,
    )


def _whose(texts: dict[str, str | None]) -> tuple[str, str | None, str | None]:
    """Return the session, the parent of a sub-agent, and the transcript."""
    session_id, agent_id = texts["session_id"] or "", texts["agent_id"]
    if agent_id is None:
        return session_id, None, texts["transcript_path"]
    own = f"{session_id}:{agent_id}"
    if len(own) > MAX_SESSION_ID:
        raise InvalidInput(f"session_id and agent_id have more than {MAX_SESSION_ID} characters.")
    return own, session_id, texts["agent_transcript_path"]


def _said(texts: dict[str, str | None]) -> str | None:
    said, error = texts["text"], texts["error"]
    if error is None:
        return said
    return f"{said}\n{error}" if said else error


def _time(value: Any) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 4e9:
        return datetime.fromtimestamp(value, UTC)
    raise InvalidInput(f"at is {value!r:.60}; give seconds since 1970.")


def _text(given: dict[str, Any], name: str, most: int) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise InvalidInput(f"{name} is {value!r:.60}; give a text of 1 to {most} characters.")
    if "\x00" in value or not _encodable(value):
        raise InvalidInput(f"{name} holds what PostgreSQL does not store.")
    return value


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
