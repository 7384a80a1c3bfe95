"""`aegis memory models …`: embedding models, and the change between two without downtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Option
from aegis.cli.options import AsJson, Yes
from aegis.cli.running import confirm, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.memory.change import ChangePlan, ChangeStatus, RecallCheck

__all__ = ["app"]

app = App("Embedding models, and changing from one to another while everything goes on.")

K = Annotated[int, Option(help="Results that are looked at for each question.")]
Samples = Annotated[int, Option(help="Questions to ask in both spaces.")]


@app.add
def list_(as_json: AsJson = False) -> None:
    """List the models: which is active, rows that carry them, calls, tokens and cost."""
    from aegis.cli.models_render import show_models
    from aegis.cli.render import show_json

    models = with_client(lambda a: a.memory.models.list())
    if as_json:
        show_json({"items": models})
    else:
        show_models(models)


@app.add
def plan(as_json: AsJson = False) -> None:
    """Estimate texts, tokens and cost of a change to AEGIS_NEXT_EMBEDDER; nothing begins."""
    from aegis.cli.models_render import show_plan
    from aegis.cli.render import show_json

    found = with_client(lambda a: a.memory.models.plan())
    if as_json:
        show_json(found)
    else:
        show_plan(found)


@app.add
def change(
    wait: Annotated[
        bool, Option(help="Do the work here, with progress; otherwise `aegis up` does it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Begin a change to AEGIS_NEXT_EMBEDDER, or go on with it (--wait)."""
    from aegis.cli.progress import counting

    status = with_client(lambda a: a.memory.models.status())
    if status.phase == "none" or not wait:
        found = with_client(lambda a: a.memory.models.plan())
        confirm(_question(found), yes=yes)
        status = with_client(lambda a: a.memory.models.begin())
    if wait:
        with counting("Embedding") as seen:

            async def work(client: Aegis) -> ChangeStatus:
                return await client.memory.models.fill(on_progress=seen)

            status = with_client(work)
    _show(status, as_json)


@app.add
def status(as_json: AsJson = False) -> None:
    """Show where the change stands, and what to do next."""
    _show(with_client(lambda a: a.memory.models.status()), as_json)


@app.add
def pause(as_json: AsJson = False) -> None:
    """Hold the work on the change up after the batch that is being done."""
    _show(with_client(lambda a: a.memory.models.pause()), as_json)


@app.add
def resume(as_json: AsJson = False) -> None:
    """Let the work on the change go on."""
    _show(with_client(lambda a: a.memory.models.resume()), as_json)


@app.add
def check(k: K = 10, samples: Samples = 100, as_json: AsJson = False) -> None:
    """Ask both spaces the same questions, and say what speaks against the switch."""
    from aegis.cli.progress import counting

    with counting("Asking") as seen:

        async def work(client: Aegis) -> RecallCheck:
            return await client.memory.models.check(k=k, samples=samples, on_progress=seen)

        found = with_client(work)
    _show_check(found, as_json)


@app.add
def switch(
    force: Annotated[bool, Option(help="Switch whatever the check says.")] = False,
    k: K = 10,
    samples: Samples = 100,
    as_json: AsJson = False,
) -> None:
    """Make the other model the active one, unless it finds clearly less or is incomplete."""
    from aegis.cli.progress import counting
    from aegis.cli.render import note

    with counting("Asking") as seen:

        async def work(client: Aegis) -> RecallCheck:
            return await client.memory.models.switch(
                force=force, k=k, samples=samples, on_progress=seen
            )

        found = with_client(work)
    _show_check(found, as_json)
    note(
        f"{found.target.model} is active. Name it with AEGIS_EMBEDDER; `aegis memory models "
        "cancel` goes back, `finish` drops the vectors of the model before."
    )


@app.add
def cancel(
    force: Annotated[bool, Option(help="Go back though memories lack a vector.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give the change up and drop its vectors; after the switch, go back to the model before."""
    confirm("The change is given up, or after the switch turned back.", yes=yes)
    _show(with_client(lambda a: a.memory.models.cancel(force=force)), as_json)


@app.add
def finish(yes: Yes = False, as_json: AsJson = False) -> None:
    """End a switched change for good: drop the vectors of the model before."""
    confirm("The vectors of the model before are dropped; there is no way back then.", yes=yes)
    _show(with_client(lambda a: a.memory.models.finish()), as_json)


def _question(found: ChangePlan) -> str:
    cost = "at a price that no setting names"
    if found.cost_usd is not None:
        cost = f"for about {found.cost_usd:.4f} USD"
    return (
        f"{found.texts:,} texts, about {found.tokens:,} tokens, are embedded with {found.target} "
        f"{cost}; {found.bytes / 1e6:,.1f} MB more are taken until the change is finished."
    )


def _show(found: ChangeStatus, as_json: bool) -> None:
    _render("show_status", found, as_json)


def _show_check(found: RecallCheck, as_json: bool) -> None:
    _render("show_check", found, as_json)


def _render(name: str, found: Any, as_json: bool) -> None:
    from aegis.cli import models_render
    from aegis.cli.render import show_json

    if as_json:
        show_json(found)
    else:
        getattr(models_render, name)(found)
