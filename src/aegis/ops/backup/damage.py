"""Damage to a copy of a backup, done on purpose: for tests and for the benchmark of detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.backup.catalogue import STATE

if TYPE_CHECKING:
    import random
    from pathlib import Path

__all__ = ["damage"]


def damage(folder: Path, other: Path, rng: random.Random) -> str:
    """Flip a bit, cut off, or exchange a file of the backup in `folder`; return what was done.

    `other` is another backup of the same database, to take files from. What is done always
    changes the bytes of a file.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != STATE)
    file = rng.choice([p for p in files if p.stat().st_size])
    text = file.read_bytes()
    kind = rng.choice(["flip", "cut", "swap"])
    name = file.relative_to(folder)
    if kind == "flip":
        at, bit = rng.randrange(len(text)), rng.randrange(8)
        file.write_bytes(text[:at] + bytes([text[at] ^ (1 << bit)]) + text[at + 1 :])
        return f"flip of bit {bit} at {at} of {name}"
    if kind == "swap":
        candidates = [p for p in files if p != file] + [p for p in other.rglob("*") if p.is_file()]
        different = [p for p in candidates if p.read_bytes() != text]
        chosen = rng.choice(different)
        if chosen.is_relative_to(folder):
            file.write_bytes(chosen.read_bytes())
            chosen.write_bytes(text)
        else:
            file.write_bytes(chosen.read_bytes())
        return f"swap of {name} with {chosen}"
    left = rng.randrange(len(text))
    file.write_bytes(text[:left])
    return f"cut of {name} after {left} of {len(text)}"
