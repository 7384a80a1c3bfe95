"""The types that come with Aegis, in the order in which the reference lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.workflows.nodes.controls import (
    Approval,
    Decision,
    FanOut,
    Join,
    Parallel,
    SignalWait,
    SubWorkflow,
    WaitFor,
    WaitUntil,
)
from aegis.workflows.nodes.http import Http
from aegis.workflows.nodes.llm import Llm
from aegis.workflows.nodes.memories import MemoryRecall, MemoryRecord
from aegis.workflows.nodes.outside import PageCheck, Research
from aegis.workflows.nodes.sql import SqlRead, SqlWrite
from aegis.workflows.nodes.task import Task
from aegis.workflows.nodes.values import SetValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.workflows.nodes.kind import Kind

__all__ = ["BUILTIN"]

BUILTIN: Final[Sequence[Kind]] = (
    Task(),
    Http(),
    SqlRead(),
    SqlWrite(),
    MemoryRecord(),
    MemoryRecall(),
    Llm(),
    Research(),
    PageCheck(),
    SetValue(),
    Decision(),
    FanOut(),
    Parallel(),
    Join(),
    SubWorkflow(),
    WaitFor(),
    WaitUntil(),
    SignalWait(),
    Approval(),
)
