"""A repository's history: every commit an episode, whatever is in it, and nothing of it is run."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from aegis.errors import ConfigError, InvalidInput
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.memory import Memory


def git(repo: Path, *arguments: str | bytes, at: int = 1_700_000_000) -> str:
    env = {
        **os.environ,
        "GIT_AUTHOR_DATE": f"@{at} +0200",
        "GIT_COMMITTER_DATE": f"@{at + 60} +0200",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Bot",
        "GIT_COMMITTER_EMAIL": "bot@example.org",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=repo, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "project"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    return repo


def commit(repo: Path, message: str, at: int = 1_700_000_000, **files: str) -> str:
    for name, text in files.items():
        (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message, at=at)
    return git(repo, "rev-parse", "HEAD")


async def test_commit_is_an_episode_with_its_files_and_parents(
    plain_memory: Memory, repo: Path
) -> None:
    first = commit(repo, "Begin\n\nWith a body.", a="1\n2\n")
    second = commit(repo, "Go on", at=1_700_000_500, a="1\n", b="x\n")
    report = await import_path(plain_memory, "git", repo)
    newer, older = await plain_memory.list()
    assert (report.read, report.recorded) == (2, 2)
    assert older.summary == "Begin\n\nWith a body."
    assert older.timestamp == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (older.event_type, older.session_id) == ("commit", "git:project")
    assert older.details is not None
    assert older.details["sha"] == first
    assert older.details["author"] == {"name": "Ada", "email": "ada@example.org"}
    assert older.details["files"] == [{"path": "a", "insertions": 2, "deletions": 0}]
    assert newer.source_id == f"git:{second}"
    assert newer.related_memories == [older.id]
    assert newer.details is not None
    assert (newer.details["insertions"], newer.details["deletions"]) == (1, 1)


async def test_second_import_adds_only_new_commits_related_to_old_ones(
    plain_memory: Memory, repo: Path
) -> None:
    commit(repo, "one")
    await import_path(plain_memory, "git", repo)
    commit(repo, "two", at=1_700_000_100)
    report = await import_path(plain_memory, "git", repo)
    newer, older = await plain_memory.list()
    assert (report.recorded, report.skipped) == (1, 1)
    assert newer.related_memories == [older.id]


async def test_merge_is_related_to_both_parents(plain_memory: Memory, repo: Path) -> None:
    commit(repo, "base", a="1")
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, "side", b="1")
    git(repo, "checkout", "-q", "main")
    commit(repo, "main", c="1")
    git(repo, "merge", "-q", "--no-ff", "-m", "join", "side", at=1_700_000_900)
    await import_path(plain_memory, "git", repo)
    episodes = {e.summary: e for e in await plain_memory.list()}
    assert set(episodes["join"].related_memories) == {episodes["side"].id, episodes["main"].id}
    assert "merge" in episodes["join"].tags


async def test_odd_commits_are_read(plain_memory: Memory, repo: Path) -> None:
    commit(repo, "")
    (repo / "tab\tand\nline").write_text("x\n")
    (repo / "binary").write_bytes(b"\x00\x01")
    commit(repo, "odd names")
    git(repo, "mv", "tab\tand\nline", "plain")
    commit(repo, "renamed")
    commit(repo, "1\t2\tlooks like a file", z="1")
    message = repo / ".git" / "message"
    message.write_bytes(b"latin \xe9")
    git(repo, "commit", "-q", "--allow-empty", "-F", str(message))
    report = await import_path(plain_memory, "git", repo)
    assert (report.read, report.broken_count) == (5, 0)
    episodes = {e.summary: e for e in await plain_memory.list()}
    assert any(summary.endswith("without a message") for summary in episodes)
    odd = episodes["odd names"].details
    assert odd is not None
    assert {f["path"] for f in odd["files"]} == {"tab\tand\nline", "binary"}
    renamed = episodes["renamed"].details
    assert renamed is not None
    assert renamed["files"][0]["path"] == "tab\tand\nline => plain"
    assert any(summary.startswith("latin ") for summary in episodes)


async def test_huge_commit_lists_some_files_and_counts_all(
    plain_memory: Memory, repo: Path
) -> None:
    for i in range(500):
        (repo / f"f{i}").write_text("line\n")
    commit(repo, "x" * 50_000)
    await import_path(plain_memory, "git", repo)
    (episode,) = await plain_memory.list()
    assert episode.details is not None
    assert (len(episode.details["files"]), episode.details["file_count"]) == (200, 500)
    assert episode.details["insertions"] == 500
    assert (len(episode.summary), episode.details["message_characters"]) == (20_000, 50_000)


async def test_bare_repository_and_one_without_commits(
    plain_memory: Memory, repo: Path, tmp_path: Path
) -> None:
    assert (await import_path(plain_memory, "git", repo)).read == 0
    commit(repo, "one")
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert (await import_path(plain_memory, "git", tmp_path / "bare.git")).recorded == 1
    (episode,) = await plain_memory.list()
    assert episode.session_id == "git:bare"


async def test_programs_named_by_the_repository_are_not_run(
    plain_memory: Memory, repo: Path, tmp_path: Path
) -> None:
    trap, mark = tmp_path / "trap", tmp_path / "mark"
    trap.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    trap.chmod(0o755)
    commit(repo, "one", a="1")
    (repo / ".gitattributes").write_text("* diff=evil\n")
    commit(repo, "two", a="2")
    for name in ("gpg.program", "core.pager", "core.fsmonitor", "diff.external", "core.sshCommand",
                 "diff.evil.textconv", "diff.evil.command"):  # fmt: skip
        git(repo, "config", name, str(trap))
    git(repo, "config", "log.showSignature", "true")
    mark.unlink(missing_ok=True)
    assert (await import_path(plain_memory, "git", repo)).recorded == 2
    assert not mark.exists()


async def test_folder_whose_name_looks_like_an_option_is_a_folder(
    plain_memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    odd = tmp_path / "--output=stolen"
    odd.mkdir()
    git(odd, "init", "-q")
    commit(odd, "one")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    report = await import_path(plain_memory, "git", Path("--output=stolen"))
    assert report.recorded == 1
    assert not (tmp_path / "stolen").exists()


async def test_what_is_no_repository_is_said_so(plain_memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="is not a folder"):
        await import_path(plain_memory, "git", tmp_path / "file")
    with pytest.raises(InvalidInput, match="is not a git repository"):
        await import_path(plain_memory, "git", tmp_path)


async def test_missing_git_is_said_so(
    plain_memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="git is not installed"):
        await import_path(plain_memory, "git", tmp_path)
