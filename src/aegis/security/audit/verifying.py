"""Verifying: rows read in pages of one snapshot, against seals, anchors, head and guards."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aegis.security.audit import store
from aegis.security.audit.anchors import read_anchors
from aegis.security.audit.chain import Chain, valid_anchors
from aegis.security.audit.guards import what_is_wrong
from aegis.security.audit.models import Verification
from aegis.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.security.audit.anchors import Anchors
    from aegis.security.audit.models import Head

__all__ = ["verify"]

#: Rows of a page; about 2 MB.
_PAGE: Final = 2_000


async def verify(
    db: Database,
    settings: Settings,
    *,
    complete: bool,
    anchors: Anchors | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Verification:
    """Verify the log, all of it or what came after the last anchor, and say what was found.

    Memory does not grow with the log. `progress` is told how many rows were read, and of how many.

    Raises:
        ConfigError: the secrets or the anchors cannot be read.
        NotFound: the head is gone, and with it what there is to verify against.
    """
    began = time.perf_counter()
    # Read before the snapshot: whoever appends and anchors in between is not taken for a forger.
    known = read_anchors(settings) if anchors is None else anchors
    secrets = {secret.id: secret for secret in Vault(settings).secrets()}
    async with db.transaction() as conn:
        await store.begin_snapshot(conn)
        head = await store.get_head(conn)
        chain = Chain(head=head, secrets=secrets)
        for text in what_is_wrong(await store.guards(conn)):
            chain.find("guard", text, severity="warning")
        _look_at_file(chain, known)
        held = valid_anchors(chain, known.anchors)
        chain.anchored = held
        seals = await store.list_seals(conn)
        looked_at = {anchor.seq for anchor in known.anchors if not anchor.from_backup}
        start = _start(head, looked_at & held.keys(), sealed=seals[-1].through_seq if seals else 0)
        if complete or start is None:
            complete = True
            chain.start(seals)
            if left := await store.count_through(conn, chain.seq):
                chain.find("seal", f"{left} rows that a seal covers are there, or came back.")
        else:
            await _start_at(conn, chain, start, held[start])
        begin = chain.seq
        await _read(conn, chain, head, progress)
    chain.finish()
    return _said(chain, complete=complete, begin=begin, elapsed_ms=_since(began))


async def _read(
    conn: Connection, chain: Chain, head: Head, progress: Callable[[int, int], object] | None
) -> None:
    async for page in store.stream_rows(conn, after=chain.seq, page=_PAGE):
        for row in page:
            chain.take(row)
        if progress is not None:
            progress(chain.rows, head.seq)
        # Other tasks of this process go on meanwhile.
        await asyncio.sleep(0)


def _start(head: Head, anchored: Collection[int], *, sealed: int) -> int | None:
    """Return the number of the newest anchor that can be begun from."""
    usable = [seq for seq in anchored if sealed < seq <= head.seq]
    return max(usable, default=None)


async def _start_at(conn: Connection, chain: Chain, seq: int, known: bytes) -> None:
    row = await store.find_row(conn, seq)
    if row is None:
        chain.find("gap", f"Row {seq} is missing, which was anchored.", seq=seq)
    elif row.hash != known:
        chain.find("anchor", f"Row {seq} is not the one that was anchored.", seq=seq)
    chain.seq, chain.hash = seq, known


def _look_at_file(chain: Chain, known: Anchors) -> None:
    for number in known.bad_lines:
        chain.find(
            "anchor",
            f"Line {number} of {known.path} is no anchor: it was changed, or a crash cut it short.",
            severity="warning",
        )
    if not known.anchors and chain.head.seq:
        chain.find(
            "no_anchor",
            f"There is no anchor in {known.path}: whether rows are missing at the end cannot be "
            "told. `aegis security audit head` writes one, and so does the next backup.",
            severity="warning",
        )


def _said(chain: Chain, *, complete: bool, begin: int, elapsed_ms: float) -> Verification:
    return Verification(
        state="tampered" if chain.problems else "warning" if chain.warnings else "ok",
        complete=complete,
        log_id=str(chain.head.log_id),
        from_seq=begin + 1,
        through_seq=chain.head.seq,
        rows=chain.rows,
        problems=chain.problems,
        warnings=chain.warnings,
        head_hash=chain.head.hash.hex(),
        elapsed_ms=elapsed_ms,
        findings=tuple(sorted(chain.findings, key=lambda f: (f.severity != "problem", f.seq or 0))),
    )


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
