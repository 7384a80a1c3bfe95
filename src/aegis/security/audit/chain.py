"""Whether rows are as they were written: pure, one row after the other, in bounded memory.

What a row must be follows from the one before it, the seals, the anchors and the head. After a row
that is wrong the chain goes on from what that row claims, so that one fault is told once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aegis.security.audit.encoding import (
    ZERO,
    anchor_body,
    hash_of,
    is_signed,
    row_body,
    seal_body,
)
from aegis.security.audit.models import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.security.audit.models import Anchor, Head, Row, Seal, Severity
    from aegis.vault import Secret

__all__ = ["MOST_FINDINGS", "Chain", "valid_anchors"]

#: More are counted, and not told.
MOST_FINDINGS: Final = 50


@dataclass(slots=True, kw_only=True)
class Chain:
    """One reading of the log; feed it rows with `take`, then `finish`."""

    head: Head
    secrets: Mapping[str, Secret]
    #: Number and hash of the row before the first that comes.
    seq: int = 0
    hash: bytes = ZERO
    #: Hashes that were written down elsewhere, by number.
    anchored: Mapping[int, bytes] = field(default_factory=dict[int, bytes])
    rows: int = 0
    problems: int = 0
    warnings: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    def find(
        self, kind: str, text: str, *, seq: int | None = None, severity: Severity = "problem"
    ) -> None:
        """Note a finding."""
        if severity == "problem":
            self.problems += 1
        else:
            self.warnings += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(seq=seq, severity=severity, kind=kind, text=text))

    def start(self, seals: Sequence[Seal]) -> None:
        """Begin where the last seal says that the rows begin."""
        for seal in seals:
            self._take_seal(seal)

    def take(self, row: Row) -> None:
        """Take the next row."""
        self.rows += 1
        if row.seq <= self.seq:
            self.find("order", f"Row {row.seq} comes after row {self.seq}.", seq=row.seq)
        elif row.seq > self.seq + 1:
            first, last = self.seq + 1, row.seq - 1
            what = f"Row {first} is" if first == last else f"Rows {first} to {last} are"
            self.find("gap", f"{what} missing before row {row.seq}.", seq=first)
        elif row.previous_hash != self.hash:
            self.find(
                "unlinked",
                f"Row {row.seq} ({row.action}) does not follow the row before it: one of the two "
                "was replaced, or rows changed places.",
                seq=row.seq,
            )
        self._check(row)
        if row.seq in self.anchored and self.anchored[row.seq] != row.hash:
            self.find("anchor", f"Row {row.seq} is not the one that was anchored.", seq=row.seq)
        self.seq, self.hash = row.seq, row.hash

    def finish(self) -> None:
        """Compare the end with the head."""
        if self.seq < self.head.seq:
            first = self.seq + 1
            self.find(
                "tail",
                f"Rows {first} to {self.head.seq} are missing at the end."
                if first < self.head.seq
                else f"Row {first} is missing at the end.",
                seq=first,
            )
        elif self.seq > self.head.seq:
            self.find(
                "beyond_head",
                f"The head stands at {self.head.seq}, the last row is {self.seq}: the head was put "
                "back, or rows were added past Aegis.",
                seq=self.head.seq + 1,
            )
        elif self.hash != self.head.hash:
            self.find("tail", f"The head holds another hash than row {self.seq}.", seq=self.seq)

    def _check(self, row: Row) -> None:
        """Compare what a row says with its hash, and its hash with the signature."""
        try:
            body = row_body(self.head.log_id, row)
        except (ValueError, RecursionError):
            self.find("changed", f"Row {row.seq} ({row.action}) was changed.", seq=row.seq)
            return
        if hash_of(row.previous_hash, body) != row.hash:
            self.find("changed", f"Row {row.seq} ({row.action}) was changed.", seq=row.seq)
        elif row.secret_id not in self.secrets:
            self.find(
                "unknown_secret",
                f"Row {row.seq} ({row.action}) is signed with secret {row.secret_id!r}, which is "
                "not here: it may be forged. Add the secret of the process that wrote it.",
                seq=row.seq,
            )
        elif not is_signed(self.secrets, row.secret_id, row.hash, row.signature):
            self.find(
                "forged",
                f"Row {row.seq} ({row.action}) was written without the secret.",
                seq=row.seq,
            )

    def _take_seal(self, seal: Seal) -> None:
        if not is_signed(
            self.secrets, seal.secret_id, seal_body(self.head.log_id, seal), seal.signature
        ):
            self.find(
                "seal",
                f"The seal of rows {seal.from_seq} to {seal.through_seq} was changed, or made "
                "without the secret.",
                seq=seal.from_seq,
            )
        if seal.from_seq != self.seq + 1:
            self.find(
                "seal",
                f"Before the seal of rows {seal.from_seq} to {seal.through_seq} another one is "
                "missing.",
                seq=self.seq + 1,
            )
        self.seq, self.hash = seal.through_seq, seal.hash
        if seal.through_seq in self.anchored and self.anchored[seal.through_seq] != seal.hash:
            self.find(
                "anchor",
                f"Row {seal.through_seq}, under a seal, is not the one that was anchored.",
                seq=seal.through_seq,
            )


def valid_anchors(chain: Chain, anchors: Sequence[Anchor]) -> dict[int, bytes]:
    """Return the hashes that anchors of this log hold, by number; what is wrong is a finding."""
    held: dict[int, bytes] = {}
    mine = others = 0
    for anchor in anchors:
        if not is_signed(chain.secrets, anchor.secret_id, anchor_body(anchor), anchor.signature):
            chain.find(
                "anchor",
                f"The anchor at row {anchor.seq} of {anchor.at:%Y-%m-%d} was changed, or made "
                "without the secret.",
                seq=anchor.seq,
            )
            continue
        if anchor.log_id != chain.head.log_id:
            others += 1
            continue
        mine += 1
        if anchor.accepts:
            held = {seq: known for seq, known in held.items() if seq < anchor.seq}
        held[anchor.seq] = anchor.hash
    if others and not mine:
        chain.find(
            "other_log",
            "The anchors are of another log: the log was replaced, or this is another database. "
            "If it is, `aegis security audit head --accept` says so.",
        )
    beyond = [seq for seq in held if seq > chain.head.seq]
    if beyond:
        chain.find(
            "rolled_back",
            f"The log ends at row {chain.head.seq}, and was at row {max(beyond)} before: rows were "
            "taken away, or an older database was restored. If you restored it, "
            "`aegis security audit head --accept` says so.",
            seq=chain.head.seq + 1,
        )
    return held
