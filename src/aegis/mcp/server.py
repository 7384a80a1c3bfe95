"""The MCP server: tools, resources and prompts; over stdio, or as an application to mount."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcp.server import MCPServer

from aegis import __version__
from aegis.mcp.alerts import alert_tools
from aegis.mcp.backups import backup_tools
from aegis.mcp.billing import billing_tools
from aegis.mcp.consolidation import upkeep_tools
from aegis.mcp.decisions import decision_tools
from aegis.mcp.facts import fact_tools
from aegis.mcp.graph import graph_tools
from aegis.mcp.graphiti import graphiti_tools
from aegis.mcp.health import health_tools
from aegis.mcp.intel import intel_tools
from aegis.mcp.jobs import job_tools
from aegis.mcp.keys import key_tools
from aegis.mcp.memory import memory_tools
from aegis.mcp.metrics import metric_tools
from aegis.mcp.models import model_tools
from aegis.mcp.prompts import add_prompts
from aegis.mcp.research import research_tools
from aegis.mcp.resources import add_resources
from aegis.mcp.retention import retention_tools
from aegis.mcp.security import security_tools
from aegis.mcp.security_audit import audit_log_tools
from aegis.mcp.security_columns import column_tools
from aegis.mcp.sessions import session_tools
from aegis.mcp.usage import usage_tools
from aegis.mcp.workers import worker_tools
from aegis.mcp.workflows import workflow_tools

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from aegis.alerts.service import Alerts
    from aegis.billing import Billing
    from aegis.client import Aegis
    from aegis.intel.service import Intel
    from aegis.keys import Keys
    from aegis.memory import Memory
    from aegis.metrics.service import Metrics
    from aegis.ops.backup.service import Backups
    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance
    from aegis.security.audit.service import AuditLog
    from aegis.security.service import Security
    from aegis.usage import Usage
    from aegis.worker.service import Jobs, Schedules, Workers
    from aegis.workflows.service import Workflows

__all__ = ["INSTRUCTIONS", "PATH", "create_server", "http_app", "serve_stdio", "server_of"]

PATH = "/mcp"
INSTRUCTIONS = (
    "Aegis is your long-term memory. Before a task, call memory_recall with what it is about. "
    "After something worth knowing again (a task done, an error and its cause, a decision, what "
    "the user prefers), call memory_record, memory_fact_record or memory_decision_record. When "
    "you learn how a decision turned out, call memory_decision_resolve."
)


def create_server(
    memory: Memory,
    *,
    keys: Keys | None = None,
    usage: Usage | None = None,
    billing: Billing | None = None,
    metrics: Metrics | None = None,
    workflows: Workflows | None = None,
    client: Aegis | None = None,
    jobs: Jobs | None = None,
    schedules: Schedules | None = None,
    workers: Workers | None = None,
    intel: Intel | None = None,
    backups: Backups | None = None,
    health: Health | None = None,
    maintenance: Maintenance | None = None,
    alerts: Alerts | None = None,
    security: Security | None = None,
    audit_log: AuditLog | None = None,
) -> MCPServer:
    """Return the server whose tools work on `memory`, and read what else is given."""
    server = MCPServer(
        "aegis",
        title="Aegis",
        version=__version__,
        instructions=INSTRUCTIONS,
        tools=[
            *memory_tools(memory),
            *fact_tools(memory),
            *decision_tools(memory),
            *retention_tools(memory),
            *graph_tools(memory),
            *graphiti_tools(memory),
            *upkeep_tools(memory),
            *model_tools(memory),
            *([] if keys is None else key_tools(keys)),
            *session_tools(memory),
            *([] if usage is None else usage_tools(usage)),
            *([] if billing is None else billing_tools(billing)),
            *(
                []
                if metrics is None
                else metric_tools(metrics, None if client is None else lambda: client.telemetry)
            ),
            *([] if workflows is None else workflow_tools(workflows)),
            # Handed over whole: research is loaded when it is first asked for.
            *([] if client is None else research_tools(client)),
            *([] if client is None else column_tools(client)),
            *([] if jobs is None or schedules is None else job_tools(jobs, schedules)),
            *([] if workers is None else worker_tools(workers)),
            *([] if intel is None else intel_tools(intel)),
            *([] if backups is None else backup_tools(backups)),
            *([] if health is None or maintenance is None else health_tools(health, maintenance)),
            *([] if alerts is None else alert_tools(alerts)),
            *([] if security is None else security_tools(security)),
            *([] if audit_log is None else audit_log_tools(audit_log)),
        ],
        log_level="WARNING",
        subscriptions=False,
    )
    add_resources(server, memory)
    add_prompts(server, memory)
    logging.getLogger("mcp").setLevel(logging.WARNING)
    return server


def http_app(server: MCPServer, *, host: str) -> Starlette:
    """Return the streamable HTTP application at `PATH`; stateless, so nothing piles up.

    Its session manager (`server.session_manager`) has to run while the application serves.
    """
    return server.streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=True, host=host
    )


def server_of(client: Aegis) -> MCPServer:
    """Return the server of everything that `client` offers an agent."""
    return create_server(
        client.memory,
        keys=client.keys,
        usage=client.usage,
        billing=client.billing,
        metrics=client.metrics,
        workflows=client.workflows,
        client=client,
        jobs=client.jobs,
        schedules=client.schedules,
        workers=client.workers,
        intel=client.intel,
        backups=client.backups,
        health=client.health,
        maintenance=client.maintenance,
        alerts=client.alerts,
        security=client.security,
        audit_log=client.audit_log,
    )


async def serve_stdio(client: Aegis) -> None:
    """Serve on standard input and output until the input ends."""
    await server_of(client).run_stdio_async()
