"""The episodes that led to a decision, as a caller names them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.models import ROLES, DecisionEpisode

__all__ = ["MAX_LINKS", "decision_episodes"]

MAX_LINKS = 200
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


def _link(name: str, item: Any) -> DecisionEpisode:
    if isinstance(item, Mapping):
        fields = dict(cast("Mapping[str, Any]", item))
        unknown = sorted(str(key) for key in set(fields) - {"episode_id", "role"})
        if unknown:
            raise InvalidInput(
                f"{name} has {', '.join(unknown)[:_PREVIEW]}; use episode_id and role."
            )
        item = DecisionEpisode(
            episode_id=fields.get("episode_id", None),  # pyright: ignore[reportArgumentType]
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
