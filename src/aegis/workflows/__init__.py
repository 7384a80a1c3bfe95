"""Workflows: durable work that is data.

Owns `workflows`, `workflow_executions` and the tables of their steps. A workflow is a graph of
nodes and edges, versioned; an execution is pinned to its version. A finished step is never run
again.
"""

from __future__ import annotations
