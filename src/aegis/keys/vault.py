"""Where the server's secrets are, for who looks for it beside the keys: `aegis.vault`."""

from __future__ import annotations

from aegis.vault import Vault

__all__ = ["Vault"]
