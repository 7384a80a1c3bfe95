"""Hooks in settings: put in, taken out, and nothing else touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from aegis.errors import AegisError, ConfigError
from aegis.sessions.installing import change_settings, write_plugin
from aegis.sessions.settings_text import EVENTS, with_hooks, without_hooks

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ["/opt/my tools/aegis"]
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_entry = st.fixed_dictionaries(
    {"hooks": st.lists(st.fixed_dictionaries({"command": st.text()}), min_size=1, max_size=2)}
)
_hooks = st.dictionaries(
    st.sampled_from([*EVENTS, "PreToolUse"]), st.lists(_entry, min_size=1, max_size=2), min_size=1
)
_settings = st.dictionaries(st.text().filter(lambda k: k != "hooks"), _values, max_size=4)


@run_with(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    _settings,
    st.none() | _hooks,
    st.sampled_from([None, 2, 4, "\t"]),
    st.sampled_from(["", "\n", "\r\n"]),
)
def test_what_is_put_in_is_taken_out_to_the_byte(
    settings: dict[str, Any], hooks: dict[str, Any] | None, indent: Any, end: str
) -> None:
    before = settings if hooks is None else {"hooks": hooks, **settings}
    text = json.dumps(before, indent=indent, ensure_ascii=False) + end
    after = with_hooks(text, COMMAND)
    parsed = json.loads(after)
    assert {k: v for k, v in parsed.items() if k != "hooks"} == settings
    assert list(parsed)[: len(before)] == list(before)
    for event, entries in (hooks or {}).items():
        assert parsed["hooks"][event][: len(entries)] == entries
    assert all(
        parsed["hooks"][e][-1]["hooks"][0]["command"] == f"'/opt/my tools/aegis' hook {e}"
        for e in EVENTS
    )
    assert without_hooks(after) == text
    assert with_hooks(after, COMMAND) == after


def test_older_hooks_of_ours_are_replaced_and_others_of_the_same_event_stay() -> None:
    other = {"matcher": "Bash", "hooks": [{"type": "command", "command": "lint.sh"}]}
    old = {"hooks": [{"type": "command", "command": "/old/python -m aegis.cli hook Stop"}]}
    after = json.loads(with_hooks(json.dumps({"hooks": {"Stop": [old, other]}}), COMMAND))
    assert after["hooks"]["Stop"][0] == other
    assert len(after["hooks"]["Stop"]) == 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"a": 1,}', "// x\n{}", '{"hooks": []}', '{"hooks": {"Stop": {}}}',
     '{"a":' * 100_000],
)  # fmt: skip
def test_broken_settings_are_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text or " ")
    with pytest.raises(ConfigError, match="left as it is"):
        change_settings(path, COMMAND)
    assert path.read_text() == (text or " ")
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_file_keeps_its_mode_its_link_and_its_line_ends(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.json"
    kept.write_bytes(b'\xef\xbb\xbf{\r\n\t"model": "x"\r\n}\r\n')
    kept.chmod(0o640)
    link = tmp_path / "claude" / "settings.json"
    link.parent.mkdir()
    link.symlink_to(kept)
    assert change_settings(link, COMMAND)
    assert link.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert b'\r\n\t"hooks": {\r\n\t\t"SessionStart"' in kept.read_bytes()
    assert not change_settings(link, COMMAND)
    assert change_settings(link, None)
    assert kept.read_bytes() == b'\xef\xbb\xbf{\r\n\t"model": "x"\r\n}\r\n'


def test_settings_that_are_not_there_are_made_and_uninstalling_makes_none(tmp_path: Path) -> None:
    path = tmp_path / ".claude" / "settings.json"
    assert not change_settings(path, None)
    assert not path.exists()
    assert change_settings(path, COMMAND)
    assert set(json.loads(path.read_text())["hooks"]) == set(EVENTS)


def test_plugin_has_the_hooks_and_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "plugin"
    files = write_plugin(folder, COMMAND, version="1.0")
    written = {name: json.loads((folder / name).read_text()) for name in files}
    assert set(written["aegis/hooks/hooks.json"]["hooks"]) == set(EVENTS)
    server = written["aegis/.mcp.json"]["mcpServers"]["aegis"]
    assert server == {"command": COMMAND[0], "args": ["mcp"]}
    source = written[".claude-plugin/marketplace.json"]["plugins"][0]["source"]
    assert (folder / source / ".claude-plugin" / "plugin.json").exists()
    with pytest.raises(AegisError, match="not empty"):
        write_plugin(folder, COMMAND, version="1.0")
