"""YAML to JSON's values and back, for text that a stranger may have written.

Only what JSON can say: no tags, no anchors and aliases (one line of them can stand for a billion
values), no merge keys, one document, bounded depth. `yes`, `on` and dates stay text, as YAML 1.2
has it; a key may not be repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import yaml as _library

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from aegis.workflows.models import JSON

__all__ = ["dump", "load"]

#: The library has no types of its own.
yaml: Any = _library

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+"), list("-+0123456789")),
    (
        "float",
        re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        list("-+.0123456789"),
    ),
)


def load(text: str, *, most_depth: int) -> JSON:
    """Return what one document says.

    Raises:
        InvalidInput: it is no such document; the message has line and column (`workflow_yaml`).
    """
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise _refused(error) from None
    loader.most_depth = most_depth
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(error) from None
    finally:
        loader.dispose()


def dump(value: JSON) -> str:
    """Return a document that `load` reads as `value`, keys in their order."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )


class _Loader(yaml.SafeLoader):
    """Safe loader without aliases, tags and repeated keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
    most_depth = 0
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _at(event, "an alias; write the value out")
        if event.anchor is not None:
            raise _at(event, "an anchor; leave it out")
        if getattr(event, "tag", None) is not None and event.tag != "!":
            raise _at(event, f"the tag {event.tag}; leave it out")
        self._depth += 1
        if self._depth > self.most_depth:
            raise _at(event, f"more than {self.most_depth} levels; make it flatter")
        try:
            return yaml.SafeLoader.compose_node(self, parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ARG002
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key, str):
                raise _at(key_node, "a key that is no text")
            if key in seen:
                raise _at(key_node, f"the key {key[:60]!r} twice")
            seen.add(key)
        # Keys are names: `on` and `1` are text here, as in JSON.
        return {k.value: self.construct_object(v, deep=True) for k, v in node.value}

    def construct_number(self, node: Any) -> int | float:
        text = node.value
        if len(text) > 40:
            raise _at(node, "a number of more than 40 characters; put it in quotes")
        return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else _finite(float(text), node)

    def construct_map(self, node: Any) -> Any:
        return self.construct_mapping(node, deep=True)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that writes no aliases, and long texts as blocks."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> Any:
        style = "|" if "\n" in text.rstrip("\n") and not re.search(r"[ \t]+$", text, re.M) else None
        return self.represent_scalar(_TAG + "str", text, style=style)


for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
        _class.add_implicit_resolver(_TAG + _name, _whole, _first)
_Loader.add_constructor(_TAG + "map", _Loader.construct_map)
_Loader.add_constructor(_TAG + "int", _Loader.construct_number)
_Loader.add_constructor(_TAG + "float", _Loader.construct_number)
_Dumper.add_representer(str, _Dumper.represent_text)


def _finite(number: float, node: Any) -> float:
    if number in (float("inf"), float("-inf")):
        raise _at(node, "a number beyond what can be stored; put it in quotes")
    return number


def _at(node: Any, what: str) -> Exception:
    return yaml.MarkedYAMLError(problem=f"there is {what}", problem_mark=node.start_mark)


def _refused(error: Exception) -> InvalidInput:
    mark: Any = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    what = getattr(error, "problem", None) or str(error) or type(error).__name__
    return InvalidInput(
        f"The workflow's text is no YAML{where}: {' '.join(str(what).split())[:200]}.",
        code="workflow_yaml",
    )
