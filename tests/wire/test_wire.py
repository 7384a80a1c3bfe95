"""The token, the presence file, cursors and the JSON form."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.config import load_settings
from aegis.errors import ConfigError, InvalidInput
from aegis.memory import ScorePart
from aegis.wire.cursor import after_offset, before_episode, next_offset, next_page
from aegis.wire.plain import json_text, plain
from aegis.wire.presence import Presence, announce, find_presence, fingerprint
from aegis.wire.token import PREFIX, ensure_token, find_token, token_path

if TYPE_CHECKING:
    from pathlib import Path

PRESENCE = Presence(url="http://127.0.0.1:1", pid=1, serves="x")


def test_token_is_made_once_and_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert find_token(folder) is None
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(ensure_token, [folder] * 16))
    assert len(tokens) == 1
    (token,) = tokens
    assert token.startswith(PREFIX)
    assert find_token(folder) == token
    assert stat.S_IMODE(token_path(folder).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["operator-token"]


@pytest.mark.parametrize("content", ["", "short", "aegis_op_", "\xff"])
def test_file_that_holds_no_token_is_refused(tmp_path: Path, content: str) -> None:
    token_path(tmp_path).write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        ensure_token(tmp_path)
    assert caught.value.code == "token_unreadable"


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError):
        ensure_token(tmp_path / "data")


def test_presence_lasts_until_it_is_withdrawn(tmp_path: Path) -> None:
    assert find_presence(tmp_path) is None
    announcement = announce(tmp_path, PRESENCE)
    assert announcement is not None
    assert find_presence(tmp_path) == PRESENCE
    assert announce(tmp_path, PRESENCE) is None
    announcement.withdraw()
    assert find_presence(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": 1}'])
def test_presence_without_sense_is_none(tmp_path: Path, content: bytes) -> None:
    announcement = announce(tmp_path, PRESENCE)
    assert announcement is not None
    (tmp_path / "serve.json").write_bytes(content)
    assert find_presence(tmp_path) is None
    announcement.withdraw()


def test_what_a_dead_process_left_is_no_presence(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        announce(tmp_path, PRESENCE)
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads((tmp_path / "serve.json").read_text())["pid"] == 1
    assert find_presence(tmp_path) is None
    assert announce(tmp_path, PRESENCE) is not None


def test_fingerprint_tells_apart_what_answers_differently(tmp_path: Path) -> None:
    def of(token: str = "t", **settings: str) -> str:
        return fingerprint(load_settings({}, data_dir=tmp_path, **settings), token)

    ours = of()
    assert ours == of(namespace="another", api_host="localhost")
    url = "postgresql://u:p@h/d"
    others = {of("u"), of(database_url=url), of(embedder="none"), of(embedding_model="m")}
    assert len(others | {ours}) == 5
    assert "u:p" not in of(database_url=url)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(1, 2**31 - 1))
def test_cursor_of_an_episode_comes_back(at: datetime, row_id: int) -> None:
    class Row:
        timestamp = at
        id = row_id

    cursor = next_page([Row()], 1)
    assert cursor is not None
    assert before_episode(cursor) == (at, row_id)
    assert next_page([Row()], 2) is None
    assert next_page([], 1) is None


@given(st.integers(0, 1_000_000), st.integers(1, 1000))
def test_cursor_of_an_offset_comes_back(offset: int, limit: int) -> None:
    cursor = next_offset([None] * limit, limit, offset)
    assert after_offset(cursor) == offset + limit
    assert next_offset([], limit, offset) is None


@given(st.text(max_size=30))
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    for read in (before_episode, after_offset):
        try:
            read(text)
        except InvalidInput as error:
            assert error.code == "cursor_invalid"


def test_json_form_keeps_zones_and_nesting(tmp_path: Path) -> None:
    at = datetime(2026, 5, 1, 9, tzinfo=timezone(timedelta(hours=2)))
    value = {"at": at, "part": ScorePart(arm="words", score=1), "path": tmp_path, "n": (1, None)}
    assert plain(value) == {
        "at": "2026-05-01T09:00:00+02:00",
        "part": {"arm": "words", "score": 1, "rank": None, "detail": None},
        "path": str(tmp_path),
        "n": [1, None],
    }
    assert json_text({"x": "—"}) == '{\n  "x": "—"\n}'
