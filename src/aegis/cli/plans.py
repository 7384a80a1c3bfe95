"""`aegis billing plans …`: what there is to pay."""

from __future__ import annotations

from typing import Annotated

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import json_object, with_client

__all__ = ["app"]

app = App("Price plans; a version never changes, another one begins on another day.")


@app.add
def list_(
    name: Annotated[str | None, Option(help="Of this name.")] = None, as_json: AsJson = False
) -> None:
    """List the plans, and what tiers of keys cost."""
    from aegis.cli.billing_render import show_plans
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    page = {"items": plain(with_client(lambda a: a.billing.plans(name)))}
    if as_json:
        show_json(page)
    else:
        show_plans(page)


@app.add
def add(
    name: Annotated[str, Argument(metavar="PLAN", help="Name of the plan.")],
    terms: Annotated[
        str, Argument(metavar="TERMS", help='JSON: {"flat_usd": "29.00"}; @FILE reads one.')
    ],
    valid_from: Annotated[
        str | None, Option("--from", help="First day that it may begin on; today otherwise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a plan, or a version of it."""
    from aegis.cli.billing_render import show_plan
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    given = json_object("terms", terms)
    plan = plain(with_client(lambda a: a.billing.add_plan(name, given, valid_from=valid_from)))
    if as_json:
        show_json(plan)
    else:
        show_plan(plan)
