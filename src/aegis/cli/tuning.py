"""`aegis memory tune|reindex`: how wide to search, by measurement; the indexes built anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import Option
from aegis.cli.options import AsJson, Namespace
from aegis.cli.running import with_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.client import Aegis
    from aegis.memory.indexing import Rebuilt
    from aegis.memory.tuning import Curve

__all__ = ["reindex", "tune"]

_BAR = 20


def tune(
    k: Annotated[int, Option(help="Results that are wanted of a question.")] = 10,
    samples: Annotated[int, Option(help="Questions to ask; each costs an exact scan.")] = 100,
    target: Annotated[float, Option(help="Share of the exact answer that is wanted.")] = 0.97,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Measure how much of the exact answer each width of the vector search finds, and how fast."""
    from aegis.cli.progress import counting
    from aegis.cli.render import show_json

    with counting("Measuring") as seen:

        async def work(client: Aegis) -> Curve:
            return await client.memory.vectors.tune(
                k=k, samples=samples, target=target, namespace=namespace, on_progress=seen
            )

        curve = with_client(work)
    if as_json:
        show_json(curve)
    else:
        _show(curve)


def reindex(
    m: Annotated[int, Option(help="Links of a vector, 2 to 100: more find more.")] = 16,
    ef_construction: Annotated[
        int, Option(help="How wide links are looked for, 4 to 1000, twice m at least.")
    ] = 64,
    as_json: AsJson = False,
) -> None:
    """Build the vector indexes of the embedder's model anew; readers and writers go on."""
    from aegis.cli.progress import counting
    from aegis.cli.render import line, show_json

    with counting("Building") as seen:

        async def work(client: Aegis) -> Sequence[Rebuilt]:
            return await client.memory.vectors.reindex(
                m=m, ef_construction=ef_construction, on_progress=seen
            )

        built = with_client(work)
    if as_json:
        show_json({"indexes": built})
        return
    for index in built:
        line(f"{index.name} on {index.table}: {index.bytes / 1e6:,.1f} MB")


def _show(curve: Curve) -> None:
    from aegis.cli.render import line, style, table

    line(f"{curve.episodes:,} episodes in {curve.namespace}, {curve.model}")
    if curve.reason is not None:
        line(curve.reason)
        return
    table(
        ["ef_search", f"recall@{curve.k}", "share", "p50 ms", "p95 ms"],
        [
            [
                str(point.ef_search),
                f"{point.recall:.3f}",
                "█" * round(point.recall * _BAR),
                f"{point.p50_ms:.2f}",
                f"{point.p95_ms:.2f}",
            ]
            for point in curve.points
        ],
        wide="share",
        empty="",
    )
    line(f"An exact scan takes {curve.exact_p50_ms:.1f} ms; {curve.samples} questions.")
    if curve.advised is None:
        line(
            f"No width finds {curve.target:g} of the answer. Build the index anew with a greater "
            "ef_construction, or accept less."
        )
    else:
        line(
            style(f"AEGIS_HNSW_EF_SEARCH={curve.advised}", "bold")
            + f" is the least that finds {curve.target:g} of the answer."
        )
