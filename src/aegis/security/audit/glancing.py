"""A look at the log that costs next to nothing: what doctor asks every few minutes.

Guards, head, last row, anchors and what the last verification found. That every row is as it was
written is for `verify`, which reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.security.audit import store
from aegis.security.audit.anchors import read_anchors
from aegis.security.audit.chain import Chain, valid_anchors
from aegis.security.audit.guards import what_is_wrong
from aegis.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.security.audit.models import Finding, Verified

__all__ = ["Glance", "glance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What was seen."""

    #: Number of the last row, as the head has it.
    seq: int
    findings: Sequence[Finding]
    #: The last verification; None where there was none.
    last: Verified | None


async def glance(conn: Connection, settings: Settings) -> Glance:
    """Look at the log (`NotFound`: its head is gone; `ConfigError`: secrets, anchors)."""
    known = read_anchors(settings)
    head = await store.get_head(conn)
    secrets = {secret.id: secret for secret in Vault(settings).secrets()}
    chain = Chain(head=head, secrets=secrets)
    for text in what_is_wrong(await store.guards(conn)):
        chain.find("guard", text, severity="warning")
    held = valid_anchors(chain, known.anchors)
    last = await store.newest_row(conn)
    seals = await store.list_seals(conn)
    chain.anchored = {seq: known for seq, known in held.items() if last and seq == last.seq}
    if last is not None:
        chain.seq, chain.hash = last.seq - 1, last.previous_hash
        chain.take(last)
    elif seals:
        chain.seq, chain.hash = seals[-1].through_seq, seals[-1].hash
    chain.finish()
    return Glance(
        seq=head.seq, findings=tuple(chain.findings), last=await store.last_verification(conn)
    )
