"""`aegis security …`: who may do what."""

from __future__ import annotations

from aegis.cli import security_check, security_roles
from aegis.cli.command import App

__all__ = ["app"]

app = App("Doors that are shut: roles, their rights, tenants.")
security_check.add_to(app)
security_roles.add_to(app)
app.add_later("tenant", "aegis.cli.security_tenants:app")
