"""What is logged: stable ids, and what each means. docs/howto/audit-log.md lists the same ones."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["ACTIONS", "ActionId"]

ActionId = Literal[
    "audit.accept",
    "audit.seal",
    "keys.disable",
    "keys.enable",
    "keys.expire",
    "keys.grant",
    "keys.issue",
    "keys.revoke",
    "keys.rotate",
    "keys.secret_add",
    "keys.tier_set",
    "keys.update",
]

ACTIONS: Final[dict[ActionId, str]] = {
    "audit.accept": "An older state of the log was accepted after a restore",
    "audit.seal": "Old rows of the log were let go, under a seal",
    "keys.disable": "A key was switched off",
    "keys.enable": "A key was switched on again",
    "keys.expire": "A key got another end",
    "keys.grant": "A key's quota of this month was topped up",
    "keys.issue": "A key was issued",
    "keys.revoke": "A key was revoked",
    "keys.rotate": "A key got a new secret part",
    "keys.secret_add": "The server got another secret for new keys",
    "keys.tier_set": "What a tier allows was changed",
    "keys.update": "A key's name, tier, scopes or limits were changed",
}
