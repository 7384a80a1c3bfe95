"""A zip is read safely: only what is wanted, no more than is sensible, and said so otherwise."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from aegis.errors import InvalidInput
from aegis.memory.importing import archives, import_path
from tests.memory.importing.exports import claude_conversation, claude_message, write_zip

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory

CHATS = [claude_conversation("c", claude_message("m", "human", "hello"))]
MANY = [
    claude_conversation(f"c{i}", claude_message("m", "human", f"hello {i} " + "x" * i))
    for i in range(2_000)
]


async def refused(memory: Memory, path: Path, reason: str, code: str = "import_path") -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        await import_path(memory, "claude", path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_other_members_are_not_even_opened(plain_memory: Memory, tmp_path: Path) -> None:
    file = tmp_path / "e.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("../../etc/passwd", "root")
        archive.writestr("bomb.json", b"\0" * 50_000_000)
        archive.writestr("__MACOSX/._conversations.json", "rubbish")
        archive.writestr("my-conversations.json", "rubbish")
        archive.writestr("conversations.json", json.dumps(CHATS), zipfile.ZIP_DEFLATED)
    assert (await import_path(plain_memory, "claude", file)).recorded == 1
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["e.zip"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06", b"no zip at all"])
async def test_what_is_no_zip_is_said_so(
    plain_memory: Memory, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "e.zip"
    file.write_bytes(content)
    await refused(plain_memory, file, "is a damaged zip: File is not a zip file")


async def test_zip_and_folder_without_conversations_are_said_so(
    plain_memory: Memory, tmp_path: Path
) -> None:
    await refused(plain_memory, write_zip(tmp_path / "e.zip", users_json=[]), "no conversations")
    (tmp_path / "users.json").write_text("[]")
    await refused(plain_memory, tmp_path, "holds no conversations.json")


async def test_zip_cut_off_by_a_download_is_said_so(plain_memory: Memory, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "e.zip", conversations_json=MANY)
    file.write_bytes(file.read_bytes()[:-500])
    await refused(plain_memory, file, "is a damaged zip")


async def test_damage_in_the_middle_keeps_what_is_before_it(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = write_zip(tmp_path / "e.zip", conversations_json=MANY)
    content = bytearray(file.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 64] = bytes(64)
    file.write_bytes(content)
    await refused(plain_memory, file, "nothing behind it can be read", code="import_broken")
    report = await import_path(plain_memory, "claude", file, skip_broken=True)
    assert 0 < await plain_memory.count() < 2_000
    assert report.broken_count == 1


async def test_bomb_is_refused_before_it_is_opened(plain_memory: Memory, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "e.zip", conversations_json=b"[" + b" " * 40_000_000 + b"]")
    await refused(plain_memory, file, r"more than 200 times")


async def test_member_too_large_to_be_an_export_is_refused(
    plain_memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 1_000)
    file = write_zip(tmp_path / "e.zip", conversations_json=MANY)
    await refused(plain_memory, file, "at most 1,000 are read")


async def test_encrypted_member_is_refused(plain_memory: Memory, tmp_path: Path) -> None:
    file = write_zip(tmp_path / "e.zip", conversations_json=CHATS)
    content = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    file.write_bytes(content)
    await refused(plain_memory, file, "is encrypted")


async def test_compression_that_is_not_read_is_refused(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "e.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("conversations.json", json.dumps(CHATS))
    await refused(plain_memory, file, "compressed in a way that is not read")


async def test_name_that_would_break_the_line_is_shown_without(
    plain_memory: Memory, tmp_path: Path
) -> None:
    file = write_zip(tmp_path / "e.zip", **{"a\nb\x1b[2J/conversations.json": b"{"})
    await refused(plain_memory, file, r"a\?b\?\[2J/conversations.json", code="import_broken")


async def test_folder_with_links_and_pipes_is_read_around_them(
    plain_memory: Memory, tmp_path: Path
) -> None:
    import os

    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "outside.json").write_text("[]")
    (folder / "conversations.json").write_text(json.dumps(CHATS))
    (folder / "conversations-001.json").symlink_to(tmp_path / "outside.json")
    os.mkfifo(folder / "conversations-002.json")
    assert (await import_path(plain_memory, "claude", folder)).recorded == 1
    await refused(plain_memory, folder / "conversations-002.json", "not a regular file")
