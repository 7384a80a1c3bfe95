"""`aegis keys tiers …`: what tiers allow and cost."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import named, number_or, with_client
from aegis.errors import InvalidInput

__all__ = ["app"]

app = App("What free, developer, pro and enterprise allow and cost.")


@app.add
def list_(as_json: AsJson = False) -> None:
    """List the tiers, the smallest first."""
    from aegis.cli.keyring import show_tiers
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    tiers = with_client(lambda a: a.keys.tiers.list())
    if as_json:
        show_json({"items": tiers})
    else:
        show_tiers(plain(tiers))


@app.add
def set_(
    name: Annotated[str, Argument(metavar="TIER", help="free, developer, pro or enterprise.")],
    rate_limit: Annotated[int | None, Option(help="Calls a minute.")] = None,
    monthly_quota: Annotated[str | None, Option(help="Calls a month, or `none` for any.")] = None,
    price_usd: Annotated[str | None, Option(help="Price a month, such as 29.00.")] = None,
    overage: Annotated[str | None, Option(help="yes or no: calls above the quota.")] = None,
    rollover_limit: Annotated[
        int | None, Option(help="Unused quota carried into the next month, at most.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a tier; keys without limits of their own follow, months begun keep their quota."""
    from aegis.cli.keyring import show_tiers
    from aegis.cli.render import show_json
    from aegis.wire.plain import plain

    changes: dict[str, Any] = named(
        rate_limit=rate_limit, price_usd=price_usd, rollover_limit=rollover_limit
    )
    if monthly_quota is not None:
        changes["monthly_quota"] = number_or("none", "monthly_quota", monthly_quota)
    if overage is not None:
        if overage not in ("yes", "no"):
            raise InvalidInput(f"overage is {overage!r}; use yes or no.")
        changes["overage_allowed"] = overage == "yes"
    tier = with_client(lambda a: a.keys.tiers.set(name, **changes))
    if as_json:
        show_json(tier)
    else:
        show_tiers([plain(tier)])
