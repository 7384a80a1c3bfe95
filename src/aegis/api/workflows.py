"""`/v1/workflows`: workflows as data. Names may have slashes, which the path takes as they are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from aegis.api import workflow_shapes as shapes
from aegis.api.route import Router
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.errors import InvalidInput
from aegis.workflows.reading import InvalidWorkflow, json_of

__all__ = ["router"]

router = Router(prefix="/v1/workflows", tags=["workflows"], dependencies=[KnownParameters])
Name = Annotated[str, Path(description="Name of the workflow; a slash in it is written ~.")]


@router.post("", status_code=201, response_model=shapes.SavedAnswer)
async def save_workflow(client: ClientOf, body: shapes.SaveBody) -> Any:
    """Save a workflow as its newest version; 200 where that says the same already."""
    saved, new = await client.workflows.save(_given(body), name=body.name)
    said = {"name": saved.name, "version": saved.version, "new": new}
    return answer(said, 201 if new else 200)


@router.post("/check", response_model=shapes.ProblemsAnswer)
async def check_workflow(client: ClientOf, body: shapes.SaveBody) -> Any:
    """Say everything that is wrong with a workflow; nothing is saved."""
    try:
        await client.workflows.check(_given(body), name=body.name)
    except InvalidWorkflow as error:
        return answer({"problems": error.problems})
    return answer({"problems": []})


@router.get("", response_model=shapes.DefinitionPage)
async def list_workflows(
    client: ClientOf, after: str | None = None, limit: int = 100, archived: bool = False
) -> Any:
    """List workflows by name, each with its newest version; `after` is the last name seen."""
    found = await client.workflows.list(after=after, limit=limit, archived=archived)
    return answer({"items": [_definition(one) for one in found]})


@router.get("/types", response_model=shapes.NodeTypes)
async def list_node_types() -> Any:
    """List the types of nodes that this server knows, with their parameters."""
    from aegis.workflows.nodes.registry import node_types

    items: list[dict[str, Any]] = []
    for kind in node_types().values():
        params: Any = getattr(kind, "params", {})
        items.append(
            {
                "name": kind.name,
                "runs": kind.runs,
                "doc": getattr(kind, "doc", ""),
                "result": getattr(kind, "result", ""),
                "params": [
                    {"name": n, "kind": p.kind, "required": p.required, "doc": p.doc}
                    for n, p in params.items()
                ],
            }
        )
    return answer({"items": items})


@router.get("/{name}", response_model=shapes.DefinitionAnswer)
async def get_workflow(client: ClientOf, name: Name, version: int | None = None) -> Any:
    """Return a version of a workflow, the newest unless one is named."""
    return answer(_definition(await client.workflows.get(_name(name), version)))


@router.get("/{name}/versions", response_model=shapes.VersionPage)
async def list_versions(client: ClientOf, name: Name) -> Any:
    """List the versions of a workflow, the newest first."""
    found = await client.workflows.versions(_name(name))
    items = [{"version": d.version, "status": d.status, "created_at": d.created_at} for d in found]
    return answer({"items": items})


@router.get("/{name}/graph", response_model=shapes.DrawingAnswer)
async def draw_workflow(client: ClientOf, name: Name, version: int | None = None) -> Any:
    """Draw a workflow as a Mermaid flowchart."""
    return answer({"mermaid": await client.workflows.graph(_name(name), version)})


@router.get("/{name}/diff", response_model=shapes.Difference)
async def compare_versions(client: ClientOf, name: Name, old: int, new: int | None = None) -> Any:
    """Compare two versions; `new` is the newest unless one is named."""
    return answer({"diff": await client.workflows.diff(_name(name), old, new)})


@router.post("/{name}/archive", status_code=204)
async def archive_workflow(client: ClientOf, name: Name, version: int | None = None) -> None:
    """Start no more executions of it, or of one version; those that run go on."""
    await client.workflows.archive(_name(name), version)


@router.post("/{name}/activate", status_code=204)
async def activate_workflow(client: ClientOf, name: Name, version: int | None = None) -> None:
    """Take `archive` back."""
    await client.workflows.activate(_name(name), version)


@router.delete("/{name}", status_code=204)
async def delete_workflow(client: ClientOf, name: Name) -> None:
    """Delete a workflow that was never started, with all its versions."""
    await client.workflows.delete(_name(name))


def _name(name: str) -> str:
    # No name has a tilde; a slash would end the path's part.
    return name.replace("~", "/")


def _given(body: shapes.SaveBody) -> Any:
    if (body.graph is None) == (body.yaml is None):
        raise InvalidInput("Give graph or yaml, one of both.")
    return body.yaml if body.graph is None else body.graph


def _definition(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "status": one.status,
        "created_at": one.created_at,
        "graph": json_of(one.graph),
    }
