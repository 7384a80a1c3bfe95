"""How people see the graph."""

from __future__ import annotations

from typing import Any

from aegis.cli.render import clip, line, note, style, table, when, width

__all__ = ["show_entities", "show_merges", "show_neighbourhood", "show_path"]


def show_neighbourhood(found: dict[str, Any]) -> None:
    """Write the nodes by depth, each with the relations that lead to nearer ones."""
    depths = {(n["kind"], n["id"]): n["depth"] for n in found["nodes"]}
    leads: dict[tuple[str, int], list[str]] = {}
    for relation in found["relations"]:
        source = relation["source_kind"], relation["source_id"]
        target = relation["target_kind"], relation["target_id"]
        # Told from the end that is farther away.
        if depths[source] > depths[target]:
            leads.setdefault(source, []).append(f"{relation['type']} → {_name(*target)}")
        else:
            leads.setdefault(target, []).append(f"{_name(*source)} {relation['type']} →")
    table(
        ["away", "node", "what", "when", "relations", "label"],
        [
            [
                str(n["depth"]),
                _name(n["kind"], n["id"]),
                clip(n["detail"], 20),
                when(n["at"]),
                clip("; ".join(leads.get((n["kind"], n["id"]), [])[:3]), 40),
                clip(n["label"], 200),
            ]
            for n in found["nodes"]
        ],
        wide="label",
        empty="There is nothing around it.",
    )
    if found["truncated"]:
        note("There is more: raise --width, --limit or narrow it by --type.")


def show_path(found: dict[str, Any]) -> None:
    """Write a way, a node a line, with the relations between."""
    if not found["nodes"]:
        note("No way was found" + (" within the bounds." if found["truncated"] else "."))
        return
    for position, node in enumerate(found["nodes"]):
        if position:
            relation = found["relations"][position - 1]
            forward = (relation["target_kind"], relation["target_id"]) == (node["kind"], node["id"])
            arrow = f"{relation['type']} ↓" if forward else f"{relation['type']} ↑"
            line(style(f"    {arrow}", "dim"))
        label = clip(node["label"], max(20, min(width(), 110) - 24))
        line(f"{_name(node['kind'], node['id'])}  {label}")


def show_entities(page: dict[str, Any]) -> None:
    """Write a page of entities."""
    table(
        ["id", "kind", "relations", "mentions", "last seen", "name"],
        [
            [
                str(e["id"]),
                e["kind"],
                str(e["degree"]),
                str(e["mentions"]),
                when(e["last_seen_at"]),
                clip(", ".join([e["name"], *e["aliases"]]), 200),
            ]
            for e in page["items"]
        ],
        wide="name",
        empty="There are no entities. Run `aegis memory graph build`.",
    )


def show_merges(found: list[dict[str, Any]]) -> None:
    """Write merges."""
    table(
        ["id", "kept", "merged", "at", "undone"],
        [
            [str(m["id"]), str(m["kept"]), str(m["merged"]), when(m["at"]), when(m["undone_at"])]
            for m in found
        ],
        wide="undone",
        empty="No entities were merged.",
    )


def _name(kind: str, node_id: int) -> str:
    return f"{kind}:{node_id}"
