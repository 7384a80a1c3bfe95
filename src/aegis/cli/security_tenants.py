"""`aegis security tenant …`: logins that see one namespace or customer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson, Yes
from aegis.cli.security_roles import Url

if TYPE_CHECKING:
    from aegis.security.roles.tenants import Tenants

__all__ = ["app"]

app = App("Logins that see the rows of one namespace or customer, and no others.")


@app.add
def add(
    name: Annotated[str, Argument(help="Its name; the login is PREFIX_tenant_NAME.")],
    namespace: Annotated[str | None, Option(help="Whose memories it sees.")] = None,
    customer: Annotated[str | None, Option(help="Whose usage and bills it sees.")] = None,
    connections: Annotated[int, Option(help="How many connections at once.")] = 5,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a login; its password is in a file that only you can read."""
    import asyncio

    from aegis.cli.render import line, show_json

    added = asyncio.run(
        _tenants(url).add(name, namespace=namespace, customer_id=customer, connections=connections)
    )
    if as_json:
        show_json(added)
    else:
        line(f"{added.role_name} may log in; its password is in {added.password}.")


@app.add
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """Show the tenants."""
    import asyncio

    from aegis.cli.render import show_json, table

    found = asyncio.run(_tenants(url).list())
    if as_json:
        show_json({"tenants": found})
        return
    table(
        ["login", "namespace", "customer", "made", "logs in"],
        [
            [
                t.role_name,
                t.namespace or "",
                t.customer_id or "",
                f"{t.created_at:%Y-%m-%d}",
                "yes" if t.can_log_in else "no login on this server",
            ]
            for t in found
        ],
        wide="namespace",
        empty="There are no tenants.",
    )


@app.add
def remove(
    name: Annotated[str, Argument(help="Its name, or its login.")],
    url: Url = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a login away and end its sessions."""
    import asyncio

    from aegis.cli.render import line, show_json
    from aegis.cli.running import confirm

    confirm(f"The login of {name} goes, and its sessions end.", yes=yes)
    ended = asyncio.run(_tenants(url).remove(name))
    if as_json:
        show_json({"removed": name, "sessions": ended})
    else:
        line(f"Removed; it had {ended} sessions.")


def _tenants(url: str | None) -> Tenants:
    from aegis.config import load_settings
    from aegis.security.roles.service import address_of_admin
    from aegis.security.roles.tenants import Tenants

    settings = load_settings()
    return Tenants(address_of_admin(settings, url), settings)
