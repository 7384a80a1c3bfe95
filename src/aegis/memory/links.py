"""What callers name around a decision: episodes that led to it, options to ask about. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.models import ROLES, DecisionEpisode

__all__ = ["check_options", "check_share", "decision_episodes"]

MAX_LINKS = 200
MAX_OPTIONS = 100
MAX_OPTION = 10_000
_PREVIEW = 60


def decision_episodes(given: Any) -> list[DecisionEpisode]:
    """Return what `given` names: ids, objects with `episode_id` and `role`, or `DecisionEpisode`s.

    Raises:
        InvalidInput: something else, an unknown role, too many, or one episode twice.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidInput(
            f"episodes is {_short(given)}; give a list of ids, or of objects with episode_id "
            "and role."
        )
    items = cast("Sequence[Any]", given)
    if len(items) > MAX_LINKS:
        raise InvalidInput(f"episodes has {len(items)} entries; at most {MAX_LINKS} are accepted.")
    links = [_link(f"episodes[{number}]", item) for number, item in enumerate(items)]
    seen: set[int] = set()
    for link in links:
        if link.episode_id in seen:
            raise InvalidInput(f"episodes names {link.episode_id} twice; name each once.")
        seen.add(link.episode_id)
    return sorted(links, key=lambda link: link.episode_id)


def check_options(options: Any) -> None:
    """Accept None or a list of options to ask about, at least one (`InvalidInput`)."""
    if options is None:
        return
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise InvalidInput(f"options is {_short(options)}; give a list of texts, or leave it out.")
    given = cast("Sequence[Any]", options)
    if len(given) > MAX_OPTIONS:
        raise InvalidInput(f"options has {len(given)} entries; at most {MAX_OPTIONS} are accepted.")
    for number, option in enumerate(given):
        validate.check_text(f"options[{number}]", option, most=MAX_OPTION)


def check_share(name: str, value: Any) -> None:
    """Accept a number from 0 to 1 (`InvalidInput`)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 <= value <= 1.0:
        raise InvalidInput(f"{name} is {_short(value)}; it must be a number from 0 to 1.")


def _link(name: str, item: Any) -> DecisionEpisode:
    if isinstance(item, Mapping):
        fields = dict(cast("Mapping[str, Any]", item))
        unknown = sorted(str(key) for key in set(fields) - {"episode_id", "role"})
        if unknown:
            raise InvalidInput(
                f"{name} has {', '.join(unknown)[:_PREVIEW]}; use episode_id and role."
            )
        item = DecisionEpisode(
            episode_id=fields.get("episode_id"),  # pyright: ignore[reportArgumentType]
            role=fields.get("role", "context"),
        )
    elif not isinstance(item, DecisionEpisode):
        item = DecisionEpisode(episode_id=item)
    validate.check_id(f"{name}.episode_id", item.episode_id)
    validate.check_choice(f"{name}.role", item.role, ROLES)
    return item


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
