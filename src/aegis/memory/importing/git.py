"""A git repository's history: each commit of HEAD an episode, oldest first.

`git log` runs without a shell, a pager, hooks or the programs that a repository's own
configuration could name, and its output is read as it comes. A commit is related to its parents.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import ConfigError, InvalidInput
from aegis.memory.importing.items import BrokenItem, Item, Place, Source
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from io import BufferedReader
    from pathlib import Path

    from aegis.memory.importing.items import Event

__all__ = ["open_source"]

#: Files listed for one commit; of the others only the number and the lines are kept.
MAX_FILES = 200
#: A longer message is cut: generated ones reach megabytes.
MAX_MESSAGE = 20_000
#: Of one field of git's output; the rest of a longer one is read and dropped.
_MAX_TOKEN = 4 * 2**20
_BLOCK = 2**16

#: Settings in a repository must neither run a program nor change what is printed.
_SAFE = (
    "--no-pager",
    "-c", "log.showSignature=false",
    "-c", "log.mailmap=false",
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "-c", "protocol.allow=never",
    "-c", "i18n.logOutputEncoding=UTF-8",
)  # fmt: skip
#: Fields end with NUL, which neither a message nor a path can hold.
_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%at%x00%B"
_FIELDS = 6
_LOG = (
    "log", "--reverse", "--topo-order", "-z", "--numstat", "--no-color", "--no-ext-diff",
    "--no-textconv", "--no-show-signature", f"--format={_FORMAT}", "--end-of-options", "HEAD", "--",
)  # fmt: skip
_NUMSTAT = re.compile(rb"\n?(\d+|-)\t(\d+|-)\t(.*)", re.DOTALL)


@dataclass(slots=True)
class _Commit:
    sha: str
    parents: list[str]
    author: str
    email: str
    seconds: str
    message: str
    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    file_count: int = 0
    insertions: int = 0
    deletions: int = 0


def open_source(path: Path) -> Source:
    """Open the repository at `path`, with a working tree or bare.

    Raises:
        InvalidInput: there is no repository that this user may read.
        ConfigError: git is not installed.
    """
    if not path.is_dir():
        raise InvalidInput(f"{path} is not a folder; name a git repository.", code="import_path")
    top = _ask(path, "rev-parse", "--absolute-git-dir")
    if _ask(path, "rev-parse", "--verify", "--quiet", "HEAD", empty_ok=True) == "":
        return Source(events=iter(()), total=0, unit="commits")
    total = int(_ask(path, "rev-list", "--count", "--end-of-options", "HEAD", "--"))
    return Source(events=_events(path, _name(top)), total=total, unit="commits")


def _name(git_dir: str) -> str:
    """Return the repository's name: the folder of its working tree, or of a bare one."""
    parts = [part for part in git_dir.split("/") if part]
    name = parts[-2] if parts[-1:] == [".git"] and len(parts) > 1 else "".join(parts[-1:])
    return name.removesuffix(".git")[:150] or "repository"


def _events(path: Path, repository: str) -> Iterator[Event]:
    with _git(path, *_LOG) as output:
        for number, commit in enumerate(_commits(_tokens(output)), 1):
            place = Place(file=str(path), number=number, unit="commit")
            try:
                episode = _episode(commit, repository)
            except InvalidInput as error:
                reason = f"{commit.sha[:12]}: {error}"
                yield BrokenItem(place=place, reason=reason, position=number)
                continue
            size = len(episode.summary) + 100 * len(commit.files)
            yield Item(value=episode, place=place, position=number, size=size)


def _episode(commit: _Commit, repository: str) -> NewEpisode:
    message = commit.message.replace("\x00", "").strip()
    cut = len(message) > MAX_MESSAGE
    details: dict[str, Any] = {
        "sha": commit.sha,
        "parents": commit.parents,
        "author": {"name": commit.author, "email": commit.email},
        "files": commit.files,
        "file_count": commit.file_count,
        "insertions": commit.insertions,
        "deletions": commit.deletions,
    }
    if cut:
        details["message_characters"] = len(message)
    merge = ["merge"] if len(commit.parents) > 1 else []
    return NewEpisode(
        event_type="commit",
        summary=message[:MAX_MESSAGE] or f"Commit {commit.sha[:12]} without a message",
        timestamp=_author_time(commit.seconds),
        details=details,
        context={"repository": repository},
        tags=["git", repository, *merge],
        session_id=f"git:{repository}",
        source_id=f"git:{commit.sha}",
        related_sources=[f"git:{parent}" for parent in commit.parents],
    )


def _author_time(seconds: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"its author date is {seconds[:30]!r}, which is no time") from None


def _commits(tokens: Iterator[bytes]) -> Iterator[_Commit]:
    """Put commits together: six fields, then one token a changed file, three for a renamed one."""
    commit: _Commit | None = None
    for token in tokens:
        changed = _NUMSTAT.fullmatch(token) if commit is not None else None
        if commit is None or changed is None:
            if commit is not None:
                yield commit
            rest = [next(tokens, b"") for _ in range(_FIELDS - 1)]
            commit = _commit([token.lstrip(b"\n"), *rest])
            continue
        added, removed, path = changed.groups()
        if not path:
            path = next(tokens, b"") + b" => " + next(tokens, b"")
        _add_file(commit, added, removed, path)
    if commit is not None:
        yield commit


def _commit(fields: list[bytes]) -> _Commit:
    sha, parents, author, email, seconds, message = (
        # History holds what old tools wrote: bytes that are not UTF-8 are replaced, not refused.
        value.decode(errors="replace")
        for value in fields
    )
    return _Commit(sha, parents.split(), author, email, seconds, message)


def _add_file(commit: _Commit, added: bytes, removed: bytes, path: bytes) -> None:
    # A binary file counts "-".
    plus, minus = (0 if count == b"-" else int(count) for count in (added, removed))
    commit.file_count += 1
    commit.insertions += plus
    commit.deletions += minus
    if len(commit.files) < MAX_FILES:
        name = path.decode(errors="replace")
        entry = {"path": name, "insertions": plus, "deletions": minus}
        commit.files.append(entry | ({"binary": True} if added == b"-" else {}))


def _tokens(output: BufferedReader) -> Iterator[bytes]:
    """Yield what stands between NULs."""
    kept = bytearray()
    while block := output.read1(_BLOCK):
        first, *others = block.split(b"\x00")
        kept += first[: max(0, _MAX_TOKEN - len(kept))]
        for piece in others:
            yield bytes(kept)
            kept[:] = piece
    if kept:
        yield bytes(kept)


def _ask(path: Path, *arguments: str, empty_ok: bool = False) -> str:
    try:
        with _git(path, *arguments) as output:
            return output.read().decode(errors="surrogateescape").rstrip("\n")
    except InvalidInput:
        if empty_ok:
            return ""
        raise


@contextmanager
def _git(path: Path, *arguments: str) -> Generator[BufferedReader, None, None]:
    """Run git in `path` and lend its output; ends it when the caller stops reading.

    Raises:
        InvalidInput: git failed; the message is its own.
        ConfigError: git is not installed.
    """
    # GIT_DIR and the like, set where a hook calls us, would name another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1",
            "LC_ALL": "C"}  # fmt: skip
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ["git", *_SAFE, *arguments],  # noqa: S607
                cwd=path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError(
                "git is not installed, or not on the PATH; install it to import a repository.",
                code="git_missing",
            ) from None
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read: {error.strerror}.", code="import_path"
            ) from None
        output = cast("BufferedReader", process.stdout)
        try:
            yield output
            if process.wait() != 0:
                errors.seek(0)
                raise InvalidInput(_complaint(path, errors.read(2000)), code="import_path")
        finally:
            output.close()
            process.kill()
            process.wait()


def _complaint(path: Path, errors: bytes) -> str:
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
    said = lines[0].removeprefix("fatal: ").rstrip(".") if lines else "git failed"
    if "not a git repository" in said:
        return f"{path} is not a git repository."
    return f"git cannot read {path}: {said}."
