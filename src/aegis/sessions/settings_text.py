"""Hooks in the text of a `settings.json`, put in and taken out. Pure.

The text is edited where the hooks stand and nowhere else: order, indentation, line ends and what
nobody here knows stay byte for byte; what `with_hooks` puts in, `without_hooks` takes out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EVENTS", "hook_entries", "with_hooks", "without_hooks"]

#: What is listened to. A hook that is not installed costs nothing, so noise is left out.
EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "PostToolUse",
    "PostToolUseFailure",
    "SubagentStop",
    "PreCompact",
    "Stop",
    "SessionEnd",
)
#: Far more than a hook takes; the agent's own default is ten minutes.
_TIMEOUT_S = 10
_OURS = re.compile(r"(?:aegis['\"]?|-m aegis\.cli) hook \w+\s*$")
_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A member of an object or an element of an array, as it stands in the text."""

    key: str | None
    #: Where it begins, its key included.
    start: int
    value_start: int
    end: int
    value: Any


def hook_entries(command: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the entry of each event."""
    import shlex

    return {
        event: {
            "hooks": [
                {
                    "type": "command",
                    "command": shlex.join([*command, "hook", event]),
                    "timeout": _TIMEOUT_S,
                }
            ]
        }
        for event in EVENTS
    }


def with_hooks(text: str, command: Sequence[str]) -> str:
    """Return the settings with the hooks, behind all others; earlier ones of ours are replaced.

    Raises:
        ConfigError: the text is no settings file.
    """
    text = without_hooks(text)
    for event, entry in hook_entries(command).items():
        text = _ensure(text, ("hooks",), "{}")
        text = _ensure(text, ("hooks", event), "[]")
        text = _append(text, _find(text, ("hooks", event)), 2, None, entry)
    return text


def without_hooks(text: str) -> str:
    """Return the settings without the hooks (`ConfigError`)."""
    _check(text)
    top = _find(text, ())
    hooks = _member(text, top, "hooks")
    if hooks is None:
        return text
    taken = False
    for event in [m.key for m in _members(text, hooks.value_start)]:
        while (place := _own_entry(text, event)) is not None:
            text, taken = _remove(text, *place), True
    if not taken:
        return text
    for event in EVENTS:
        # Where nothing is left there was nothing before.
        text = _remove_if_empty(text, ("hooks", event))
    return _remove_if_empty(text, ("hooks",))


def _check(text: str) -> None:
    try:
        settings: Any = json.loads(text)
    except RecursionError:
        raise ConfigError("It is nested too deeply.", code="settings_broken") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"It is not JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
            code="settings_broken",
        ) from None
    hooks: Any = settings.get("hooks", {}) if isinstance(settings, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(hooks, dict):
        raise ConfigError("It, or its `hooks`, is no JSON object.", code="settings_broken")
    for event in EVENTS:
        if not isinstance(hooks.get(event, []), list):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            raise ConfigError(f"Its `hooks.{event}` is no list.", code="settings_broken")


def _own_entry(text: str, event: str | None) -> tuple[int, int] | None:
    """Return where the list of an event, and where in it the first entry of ours is."""
    start = _find(text, ("hooks", event or ""))
    if text[start] != "[":
        return None
    for place, entry in enumerate(_members(text, start)):
        inner: Any = entry.value.get("hooks") if isinstance(entry.value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        # One that somebody put beside another of theirs is theirs.
        if isinstance(inner, list) and len(inner) == 1 and _is_ours(inner[0]):  # pyright: ignore[reportUnknownArgumentType]
            return start, place
    return None


def _is_ours(hook: Any) -> bool:
    command: Any = hook.get("command") if isinstance(hook, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return isinstance(command, str) and _OURS.search(command) is not None


def _ensure(text: str, path: tuple[str, ...], empty: str) -> str:
    *parents, key = path
    container = _find(text, tuple(parents))
    if _member(text, container, key) is not None:
        return text
    return _append(text, container, len(parents), key, json.loads(empty))


def _remove_if_empty(text: str, path: tuple[str, ...]) -> str:
    *parents, key = path
    container = _find(text, tuple(parents))
    members = _members(text, container)
    places = [place for place, member in enumerate(members) if member.key == key]
    if not places or members[places[-1]].value:
        return text
    return _remove(text, container, places[-1])


def _append(text: str, container: int, depth: int, key: str | None, value: Any) -> str:
    unit, newline = _indent(text), "\r\n" if "\r\n" in text else "\n"
    rendered = json.dumps(value, ensure_ascii=False, indent=unit)
    rendered = rendered.replace("\n", newline + unit * (depth + 1))
    if key is not None:
        rendered = f"{json.dumps(key)}: {rendered}"
    own = newline + unit * (depth + 1) + rendered
    members = _members(text, container)
    if members:
        end = members[-1].end
        return f"{text[:end]},{own}{text[end:]}"
    end = _SPACE.match(text, container + 1).end()  # pyright: ignore[reportOptionalMemberAccess]
    return f"{text[: container + 1]}{own}{newline}{unit * depth}{text[end:]}"


def _remove(text: str, container: int, place: int) -> str:
    members = _members(text, container)
    own = members[place]
    if len(members) == 1:
        end = _SPACE.match(text, own.end).end()  # pyright: ignore[reportOptionalMemberAccess]
        return text[: container + 1] + text[end:]
    if place == len(members) - 1:
        return text[: members[place - 1].end] + text[own.end :]
    return text[: own.start] + text[members[place + 1].start :]


def _find(text: str, path: tuple[str, ...]) -> int:
    """Return where the value at `path` begins; it is there."""
    at = _after_space(text, 0)
    for key in path:
        member = _member(text, at, key)
        assert member is not None
        at = member.value_start
    return at


def _member(text: str, container: int, key: str) -> _Member | None:
    # Of several of one name the last counts, as for any reader of JSON.
    return next((m for m in reversed(_members(text, container)) if m.key == key), None)


def _members(text: str, container: int) -> list[_Member]:
    found: list[_Member] = []
    closing = "}" if text[container] == "{" else "]"
    at = _after_space(text, container + 1)
    while text[at] != closing:
        start, key = at, None
        if closing == "}":
            key, at = _decoder.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)
        value, end = _decoder.raw_decode(text, at)
        found.append(_Member(key=key, start=start, value_start=at, end=end, value=value))
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _indent(text: str) -> str:
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else "  "
