"""`aegis security`: who changed what, who may do what, what is encrypted."""

from __future__ import annotations

from aegis.cli import security_check, security_roles
from aegis.cli.command import App

__all__ = ["app"]

app = App(help="Doors that are shut: who may do what, who changed what, what is encrypted.")
security_check.add_to(app)
security_roles.add_to(app)
app.add_later("tenant", "aegis.cli.security_tenants:app")
app.add_later("audit", "aegis.cli.security_audit:app")
