"""What the types of nodes here share: named parameters, checked twice, and a line of reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from aegis.errors import InvalidInput
from aegis.workflows.nodes.params import Param, check_params, read_params

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.workflows.models import JSON, Problem
    from aegis.workflows.nodes.contract import Runs, Step

__all__ = ["Control", "Kind"]


class Kind:
    """A type whose parameters are named in `params`; `act` gets them checked and complete."""

    name: ClassVar[str]
    runs: ClassVar[Runs] = "step"
    #: For the reference: what it does, and what its result is.
    doc: ClassVar[str]
    result: ClassVar[str]
    params: ClassVar[Mapping[str, Param]] = {}

    def check(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with parameters as written."""
        return [*check_params(self.params, params), *self.check_more(params)]

    def check_more(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what else is wrong: what one parameter says of another."""
        _ = params
        return ()

    async def run(self, step: Step) -> JSON:
        """Do it with parameters that have been read."""
        return await self.act(step, **read_params(self.params, step.params))

    async def act(self, step: Step, **params: Any) -> JSON:
        """Do it; each type's own."""
        raise NotImplementedError


class Control(Kind):
    """A type that the engine carries out."""

    runs: ClassVar[Runs] = "control"

    async def run(self, step: Step) -> JSON:
        """Refuse: there is nothing here to run."""
        raise InvalidInput(f"{step.node} is carried out by the engine and does not run by itself.")
