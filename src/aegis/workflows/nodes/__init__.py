"""Types of nodes: what the steps of a workflow do.

Each type is one object in one module here; `registry` finds them and those of third parties.
"""

from __future__ import annotations
