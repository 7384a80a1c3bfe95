"""Hashes of files that somebody writes on."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest

from aegis.ops.backup import hashing
from aegis.ops.backup.hashing import GrowingHashes, hash_file

if TYPE_CHECKING:
    from pathlib import Path


def test_however_files_grow_their_hashes_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_PIECE", 100)
    monkeypatch.setattr(hashing, "_TURN", 1_000)
    rng = random.Random(3)
    contents = {f"{number}.dat.zst": b"" for number in range(5)} | {"toc.dat": b""}
    hashes = GrowingHashes()
    for _ in range(40):
        for name in contents:
            added = rng.randbytes(rng.choice((0, 1, 99, 1_500)))
            contents[name] += added
            with (tmp_path / name).open("ab") as file:
                file.write(added)
        hashes.follow(tmp_path, "[0-9]*.dat*")
    for name, content in contents.items():
        assert hashes.finish(tmp_path / name) == hashlib.sha256(content).hexdigest()


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "1.dat"
    path.write_bytes(b"one")
    hashes = GrowingHashes()
    hashes.follow(tmp_path, "*.dat")
    # Nobody does that; it shows where it goes on.
    path.write_bytes(b"___two")
    assert hashes.finish(path) == hashlib.sha256(b"onetwo").hexdigest()


def test_a_file_that_stood_still_is_read_to_its_end_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "1.dat"
    path.write_bytes(b"one")
    hashes = GrowingHashes()
    for _ in range(20):
        hashes.follow(tmp_path, "*.dat")
    with path.open("ab") as file:
        file.write(b"two")
    hashes.follow(tmp_path, "*.dat")
    assert hashes.finish(path) == hashlib.sha256(b"onetwo").hexdigest()


def test_a_file_that_was_begun_anew_is_hashed_anew(tmp_path: Path) -> None:
    path = tmp_path / "1.dat"
    path.write_bytes(b"a long beginning")
    hashes = GrowingHashes()
    hashes.follow(tmp_path, "*.dat")
    path.write_bytes(b"short")
    assert hashes.finish(path) == hash_file(path) == hashlib.sha256(b"short").hexdigest()
