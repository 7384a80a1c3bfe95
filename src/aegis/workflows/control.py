"""Nodes that the engine carries out itself, and the parameters it reads of each.

| type | parameters | result |
|---|---|---|
| `decision` | none: the `when` of its edges decides | null |
| `fan_out` | `items`: list; `concurrency`: branches at once, 1 to 100, 10 unless given; `errors`: `fail` or `collect` | the list |
| `parallel` | `errors`: `fail` or `collect` | names of the nodes that its branches begin with |
| `join` | none | results of the branches in the order of `items`, of `parallel` an object by the node that each began with; a failed one is `{"error": {"code", "message"}}` |
| `sub_workflow` | `workflow`: name; `version`: newest active unless given; `input`: object | what the child returned |
| `wait_until` | `time`: ISO 8601 with an offset | the time |
| `wait_for` | `seconds` | the time at which it ended |
| `signal` | `name`; `timeout_s` | the payload |
| `approval` | `message`; `timeout_s`; `data`: what a person needs to see | `{"approved", "by", "comment"}` |

Each item of a fan-out goes its own way from the node's edge to the join and has the branch
`NODE[INDEX]`; a fan-out inside another `OUTER[1]/INNER[0]`. A `parallel` node is left by every one of
its edges that holds, each of which is a branch. A wait that times out fails with the
code `timed_out`, which `on_error` answers. Of a decision some edge must hold; another node none of
whose edges holds ends its branch.
"""  # noqa: E501

from __future__ import annotations

from typing import Final

__all__ = [
    "APPROVAL",
    "CONTROL",
    "DECISION",
    "FANS",
    "FAN_OUT",
    "JOIN",
    "MOST_BRANCHES",
    "MOST_CONCURRENCY",
    "PARALLEL",
    "SIGNAL",
    "SUB_WORKFLOW",
    "WAITS",
    "WAIT_FOR",
    "WAIT_UNTIL",
]

DECISION: Final = "decision"
FAN_OUT: Final = "fan_out"
PARALLEL: Final = "parallel"
JOIN: Final = "join"
SUB_WORKFLOW: Final = "sub_workflow"
WAIT_UNTIL: Final = "wait_until"
WAIT_FOR: Final = "wait_for"
SIGNAL: Final = "signal"
APPROVAL: Final = "approval"

#: Types that hold no worker while they wait.
WAITS: Final = frozenset((SUB_WORKFLOW, WAIT_UNTIL, WAIT_FOR, SIGNAL, APPROVAL))
#: Types that branches begin at.
FANS: Final = frozenset((FAN_OUT, PARALLEL))
CONTROL: Final = WAITS | FANS | {DECISION, JOIN}

#: Items of one fan-out.
MOST_BRANCHES: Final = 10_000
MOST_CONCURRENCY: Final = 100
