"""Commands from annotated functions, over click.

`Annotated[type, Option(…)]` says what a parameter is; one without either is an option of its own
name. A command is put together when it is asked for, and its module imported then: the others
cost nothing. (typer reads the same annotations, but imports pydantic for every command.)
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = typing.TypeVar("F", bound="Callable[..., object]")

__all__ = ["App", "Argument", "Option", "make_command"]


class Option:
    """An option: its flags (from the parameter's name otherwise) and what it is for."""

    def __init__(self, *flags: str, help: str | None = None, metavar: str | None = None) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar


class Argument:
    """A positional argument; `rest` takes everything that follows, options included."""

    def __init__(
        self, *, metavar: str | None = None, help: str | None = None, rest: bool = False
    ) -> None:
        self.metavar = metavar
        self.help = help
        self.rest = rest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a parameter holds."""

    type: Any
    many: bool


class App(click.Group):
    """A group of commands, each made when it is asked for, in the order they were added."""

    def __init__(self, help: str, *, default: Callable[..., object] | None = None) -> None:
        super().__init__(help=help, no_args_is_help=default is None)
        self._makers: dict[str, Callable[[], click.Command]] = {}
        if default is not None:
            self._run_alone(default)

    def _run_alone(self, default: Callable[..., object]) -> None:
        """Have the group's name alone be a command, too: it calls `default`."""
        made = make_command("", default)

        def run(**values: Any) -> object:
            if click.get_current_context().invoked_subcommand is not None:
                return None
            return default(**values)

        self.invoke_without_command = True
        self.params += made.params
        self.callback = run
        self.help = f"{self.help}\n\n{made.help}"

    def add(self, function: F) -> F:
        """Add `function` as a command of its own name, and return it."""
        name = function.__name__.rstrip("_").replace("_", "-")
        self._makers[name] = lambda: make_command(name, function)
        return function

    def add_later(self, name: str, place: str) -> None:
        """Add the command or group at `place`, such as `aegis.cli.db:app`, unimported."""

        def make() -> click.Command:
            module, _, attribute = place.partition(":")
            found = getattr(importlib.import_module(module), attribute)
            return found if isinstance(found, click.Command) else make_command(name, found)

        self._makers[name] = make

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(self._makers)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Make the command of this name, or return None."""
        maker = self._makers.get(cmd_name)
        return None if maker is None else maker()


def make_command(name: str, function: Callable[..., object]) -> click.Command:
    """Return the command that calls `function`; its docstring is the help."""
    parameters: list[click.Parameter] = []
    help_text = inspect.getdoc(function) or ""
    settings: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        made = _parameter(parameter)
        if isinstance(made, click.Argument) and made.nargs == -1:
            settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
        parameters.append(made)
    return click.Command(
        name,
        callback=function,
        params=parameters,
        help=help_text + _arguments_help(function),
        context_settings=settings,
    )


def _parameter(parameter: inspect.Parameter) -> click.Parameter:
    annotation, note = _split(parameter.annotation)
    kind = _kind(annotation)
    required = parameter.default is inspect.Parameter.empty
    # click tells "no default" from a default of None.
    given: Any = {"required": True} if required else {"default": parameter.default}
    if isinstance(note, Argument):
        return _argument(parameter, kind, note, given)
    flags = note.flags or (f"--{parameter.name.replace('_', '-')}",)
    if kind.type is bool:
        if parameter.default is True:
            flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}",)
        return click.Option([parameter.name, *flags], is_flag=True, help=note.help, **given)
    return click.Option(
        [parameter.name, *flags],
        type=kind.type,
        multiple=kind.many,
        show_default=given.get("default") is not None,
        help=note.help,
        metavar=note.metavar,
        callback=_as_list if kind.many else None,
        **given,
    )


def _argument(
    parameter: inspect.Parameter, kind: _Kind, note: Argument, given: dict[str, Any]
) -> click.Argument:
    if note.rest:
        return click.Argument(
            [parameter.name], nargs=-1, type=click.UNPROCESSED, metavar=note.metavar
        )
    return click.Argument([parameter.name], type=kind.type, metavar=note.metavar, **given)


def _as_list(_: click.Context, __: click.Parameter, value: Any) -> list[Any] | None:
    return list(value) or None


def _split(annotation: Any) -> tuple[Any, Option | Argument]:
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *notes = typing.get_args(annotation)
        for note in notes:
            if isinstance(note, Option | Argument):
                return inner, note
        return inner, Option()
    return annotation, Option()


def _kind(annotation: Any) -> _Kind:
    if isinstance(annotation, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        return _Kind(type=typing.get_args(annotation)[0], many=True)
    return _Kind(type=annotation, many=False)


def _arguments_help(function: Callable[..., object]) -> str:
    """Return a paragraph on the arguments that say what they are for."""
    lines: list[str] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        note = _split(parameter.annotation)[1]
        if isinstance(note, Argument) and note.help:
            lines.append(f"  {note.metavar or parameter.name.upper()}  {note.help}")
    return "\n\n\b\n" + "\n".join(lines) if lines else ""
