"""The peers' virtual environment: made once in a cache folder, with pip and the user's own index.

Each peer is installed by a call of its own, so that one which cannot be had leaves the others. A
killed installation is done again: what is there counts only once its mark is written.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput, OpsError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["PEERS", "TREES", "Peer", "choose", "default_cache", "install"]

_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "requirements.txt"
_ADAPTERS = _HERE / "adapters"
#: Seconds for one call of pip: an index that does not answer must not hold up the others for ever.
_PATIENCE_S = 1_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A store to compare with."""

    #: As people type it.
    name: str
    #: As the table shows it.
    title: str
    adapter: Path
    #: What pip is asked for; the versions are those of `requirements.txt`.
    packages: tuple[str, ...]
    #: What has to be known to read its figures rightly.
    note: str


PEERS = (
    Peer(
        name="pgvector",
        title="plain pgvector",
        adapter=_ADAPTERS / "plain_pgvector.py",
        packages=("psycopg[binary]",),
        note="plain pgvector: a B-tree on the conversation, HNSW (m 16, ef_construction 64, "
        "ef_search 40) and iterative scans; vectors alone.",
    ),
    Peer(
        name="langgraph",
        title="LangGraph PostgresStore",
        adapter=_ADAPTERS / "langgraph_store.py",
        packages=("langgraph-checkpoint-postgres", "psycopg[binary,pool]"),
        note="LangGraph: a namespace a conversation, HNSW, cosine; ranked by vectors alone.",
    ),
    Peer(
        name="mem0",
        title="mem0 (infer=False)",
        adapter=_ADAPTERS / "mem0_memory.py",
        packages=("mem0ai", "psycopg[binary,pool]"),
        note="mem0: `infer=False` stores the messages as they are, without the extraction by a "
        "language model that it is made for; its word forms and entity links need a spaCy model "
        "that it downloads, and are left out.",
    ),
    Peer(
        name="chroma",
        title="Chroma",
        adapter=_ADAPTERS / "chroma_collection.py",
        packages=("chromadb",),
        note="Chroma: on SQLite and files of its own inside the process, not on PostgreSQL; "
        "vectors alone.",
    ),
)


#: Not a store: the detector that `benchmarks nab` compares with.
TREES = Peer(
    name="river",
    title="half-space trees of river",
    adapter=_ADAPTERS / "half_space_trees.py",
    packages=("river",),
    note="river: half-space trees of its defaults on values scaled to 0 to 1; as NAB does, the "
    "threshold that is best over all files.",
)


def choose(names: str) -> tuple[Peer, ...]:
    """Return the peers of a comma-separated list, `all` for every one.

    Raises:
        InvalidInput: a name is unknown.
    """
    if names == "all":
        return PEERS
    known = {peer.name: peer for peer in PEERS}
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in known:
            raise InvalidInput(f"{name!r} is no peer; use {', '.join(known)}, or all.")
    return tuple(known[name] for name in dict.fromkeys(asked))


def default_cache() -> Path:
    """Return the folder that keeps the environment between runs."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("aegis", appauthor=False)) / "benchmarks"


def install(peer: Peer, cache: Path) -> Path:
    """Return the Python that has the peer's packages, installing them where they are missing.

    Raises:
        OpsError: the environment cannot be made, or pip cannot install the packages.
    """
    pins = _REQUIREMENTS.read_bytes()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Other pins or another Python are another environment.
    folder = cache / f"peers-{version}-{hashlib.sha256(pins).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    mark = folder / f"installed-{peer.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            # A Python that was removed since leaves a link that leads nowhere.
            if not ((folder / "made").exists() and python.exists()):
                _run([sys.executable, "-m", "venv", "--clear", str(folder)])
                (folder / "made").touch()
            if not mark.exists():
                _run([*_pip(python), "-c", str(_REQUIREMENTS), *peer.packages])
                mark.touch()
    except OSError as error:
        raise OpsError(f"No environment for the peers in {folder}: {error}.") from None
    return python


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--quiet", "--no-input",
            "--disable-pip-version-check"]  # fmt: skip


def _run(command: list[str]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=env
        )
    except subprocess.TimeoutExpired:
        raise OpsError(f"`{' '.join(command)}` took longer than {_PATIENCE_S} s.") from None
    if done.returncode:
        raise OpsError(f"`{' '.join(command)}` failed: {_reason(done.stdout + done.stderr)}")


def _reason(output: str) -> str:
    """Return the line of pip's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Let one process at a time work on the environment."""
    import fcntl

    # Beside the folder: within it, it would go with `venv --clear`.
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
