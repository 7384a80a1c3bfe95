"""`aegis security`: who changed what, who may do what, what is encrypted."""

from __future__ import annotations

from aegis.cli.command import App

__all__ = ["app"]

app = App(help="Security: who changed what, who may do what, what is encrypted.")
app.add_later("encrypt", "aegis.cli.security_columns:app")
