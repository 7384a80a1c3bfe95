"""Types of nodes by name: those that come with Aegis, and those of other packages.

Another package names its types in its `pyproject.toml`:

    [project.entry-points."aegis.nodes"]
    send_mail = "my_package.nodes:SendMail"

The entry is a `NodeType`, or a class that makes one without arguments. A built-in name cannot be
taken; a package that fails to load is left out and said in `failures`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import AegisError, InvalidInput, NotFound
from aegis.workflows.nodes.contract import NodeType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENTRY_POINTS", "failures", "find_type", "get_type", "node_types", "register_type"]

ENTRY_POINTS: Final = "aegis.nodes"
#: What loading another package may raise.
_RAISED: Final = (
    *(AegisError, ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
)

_added: dict[str, NodeType] = {}


def register_type(kind: NodeType) -> NodeType:
    """Add a type of node to this process; for programs that embed Aegis.

    Raises:
        InvalidInput: the name is taken, or it is no type of node.
    """
    if not _is_type(kind):
        raise InvalidInput(f"{kind!r:.80} has no name, runs, check and run; see NodeType.")
    if kind.name in _found()[0] or _added.get(kind.name, kind) is not kind:
        raise InvalidInput(f"There is a node type {kind.name!r} already; choose another name.")
    _added[kind.name] = kind
    return kind


def node_types() -> Mapping[str, NodeType]:
    """Return every type by name."""
    return {**_found()[0], **_added}


def find_type(name: str) -> NodeType | None:
    """Return the type of a name."""
    return _added.get(name) or _found()[0].get(name)


def get_type(name: str) -> NodeType:
    """Return the type of a name.

    Raises:
        NotFound: this process has none (`workflow_type`).
    """
    found = find_type(name)
    if found is None:
        why = failures().get(name)
        raise NotFound(
            f"This worker knows no node type {name!r}; "
            + (f"loading it fails: {why}" if why else "install the package that has it."),
            code="workflow_type",
        )
    return found


def failures() -> Mapping[str, str]:
    """Return entry points that could not be loaded, and why."""
    return _found()[1]


@functools.cache
def _found() -> tuple[dict[str, NodeType], dict[str, str]]:
    from importlib.metadata import entry_points

    from aegis.workflows.nodes.builtin import BUILTIN

    types: dict[str, NodeType] = {kind.name: cast("NodeType", kind) for kind in BUILTIN}
    troubles: dict[str, str] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            loaded: Any = entry.load()
            kind = loaded() if isinstance(loaded, type) else loaded
        except _RAISED as error:
            troubles[entry.name] = f"{type(error).__name__}: {error}"
            continue
        if not _is_type(kind):
            troubles[entry.name] = "it is no type of node"
        elif kind.name in types:
            troubles[entry.name] = f"there is a node type {kind.name!r} already"
        else:
            types[kind.name] = kind
    return types, troubles


def _is_type(kind: Any) -> bool:
    return (
        isinstance(getattr(kind, "name", None), str)
        and getattr(kind, "runs", None) in ("step", "database", "control")
        and callable(getattr(kind, "check", None))
        and callable(getattr(kind, "run", None))
    )
