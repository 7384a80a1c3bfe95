"""How a node is named by whoever asks: `episode:12`, `fact:3`, `entity:5`, `person:Alice`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.graph.models import ENTITY_KINDS, NODE_KINDS, NodeRef
from aegis.memory.graph.names import MAX_NAME, clean_name, name_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.memory.graph.models import EntityKind

__all__ = ["EntityName", "check_types", "entity_name", "parse_node", "relation_type"]

#: Types to follow at once.
_MAX_TYPES = 50
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityName:
    """An entity by kind and name."""

    kind: EntityKind
    name: str
    key: str


def parse_node(name: str, value: Any) -> NodeRef | EntityName:
    """Return the node that `value` names; a number is an episode's id.

    Raises:
        InvalidInput: it names none.
    """
    if isinstance(value, NodeRef | EntityName):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        validate.check_id(name, value)
        return NodeRef(kind="episode", id=value)
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is {_short(value)}; write episode:12, or person:Alice.")
    kind, colon, rest = value.strip().partition(":")
    if not colon and kind.isascii() and kind.isdigit() and len(kind) < 11:
        return parse_node(name, int(kind))
    if kind in NODE_KINDS:
        if not (rest.isascii() and rest.isdigit() and len(rest) < 11):
            raise InvalidInput(f"{name} is {_short(value)}; write an id, such as {kind}:12.")
        validate.check_id(name, int(rest))
        return NodeRef(kind=kind, id=int(rest))
    if not colon or kind not in ENTITY_KINDS:
        raise InvalidInput(
            f"{name} is {_short(value)}; write episode:12, fact:3, entity:5, or an entity by its "
            f"kind ({', '.join(ENTITY_KINDS)}) and name, such as person:Alice."
        )
    return entity_name(name, kind, rest)


def entity_name(name: str, kind: EntityKind, text: str) -> EntityName:
    """Return an entity's name as it is kept (`InvalidInput`)."""
    validate.check_text(name, text, most=MAX_NAME)
    key = name_key(kind, text)
    if not key:
        raise InvalidInput(f"{name} is {_short(text)}; a name has a letter or a figure.")
    return EntityName(kind=kind, name=clean_name(text), key=key)


def relation_type(value: Any) -> str:
    """Return a relation's type as it is kept, `works on` as `works_on` (`InvalidInput`)."""
    validate.check_text("type", value, most=100)
    text = re.sub(r"[\s-]+", "_", value.strip().lower())
    if not _TYPE.fullmatch(text):
        raise InvalidInput(
            f"type is {_short(value)}; use up to 63 letters a to z, figures and underscores, a "
            "letter first, such as works_on."
        )
    return text


def check_types(types: Any) -> Sequence[str]:
    """Return types to follow as they are kept (`InvalidInput`)."""
    validate.check_tags(types)
    if len(types) > _MAX_TYPES:
        raise InvalidInput(f"types has {len(types)} entries; at most {_MAX_TYPES} are accepted.")
    return [relation_type(item) for item in types]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
