from __future__ import annotations

import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aegis.errors import InvalidInput, OpsError
from benchmarks.conversations import Conversation, Question
from benchmarks.peers import environment
from benchmarks.peers.comparison import (
    KnownVectors,
    Measured,
    compare,
    measure,
    open_peer,
    outcome,
)
from benchmarks.peers.environment import PEERS, Peer, choose, install
from benchmarks.peers.process import started

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMENSIONS = 8
PLAIN = next(peer for peer in PEERS if peer.name == "pgvector")


def conversation(name: str, count: int) -> Conversation:
    messages = [
        {"id": f"m{i}", "session": 1, "time": f"2026-01-01T00:{i:02}:00+00:00",
         "author": "Ann", "text": f"thing {i} of {name}"}
        for i in range(count)
    ]  # fmt: skip
    questions = [
        Question(text=f"where is {i} of {name}? ", evidence=frozenset({f"m{i}"}), category="1")
        for i in range(0, count, 3)
    ]
    return Conversation(source="Made up", name=name, messages=messages, questions=questions)


CONVERSATIONS = [conversation("a.b", 30), conversation("c", 12)]


def vectors_of(conversations: list[Conversation]) -> KnownVectors:
    """Return vectors in which each question lies beside its message."""
    rng = np.random.default_rng(5)
    texts: list[str] = []
    rows: list[np.ndarray] = []
    for spoken in conversations:
        own = rng.standard_normal((len(spoken.messages), DIMENSIONS))
        texts += [episode.summary for episode in spoken.episodes()]
        rows += list(own)
        for question in spoken.questions:
            (evidence,) = question.evidence
            texts.append(question.text)
            rows.append(own[int(evidence[1:])] + 0.3 * rng.standard_normal(DIMENSIONS))
    found = np.array(rows, dtype=np.float32)
    return KnownVectors("made-up", texts, found / np.linalg.norm(found, axis=1, keepdims=True))


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Path]:
    """A folder for adapters of a test's own."""
    # pytest's folder is private to the test's user, which starts the adapter.
    yield tmp_path


def adapter(folder: Path, *, search: str = "return ['m0']", start: str = "pass") -> Path:
    """Write an adapter that does what a test wants of it."""
    path = folder / "adapter.py"
    adapters = Path(environment.__file__).parent / "adapters"
    path.write_text(
        f"""
import os, sys, time
sys.path.insert(0, {str(adapters)!r})
from lines import serve

class Store:
    def __init__(self, setup):
        {start}
    def add(self, scope, messages):
        print("noise on standard output")
    def search(self, scope, question, k):
        {search}

serve(Store, "pip")
"""
    )
    return path


async def run_peer(dsn: str, path: Path, *, name: str = "fake", patience_s: float = 60) -> Measured:
    """Run an adapter over the made-up conversations and return what was found."""
    found = Measured(name=name, title=name)
    vectors = vectors_of(CONVERSATIONS)
    async with AsyncExitStack() as stack:
        system = open_peer(
            stack, found, path, Path(sys.executable), dsn, vectors, patience_s=patience_s
        )
        await measure([system], CONVERSATIONS)
    return found


async def test_plain_pgvector_answers_as_an_exact_search_would(empty_dsn: str) -> None:
    vectors = vectors_of(CONVERSATIONS)
    async with AsyncExitStack() as stack:
        found = Measured(name="exact", title="exact")
        system = open_peer(stack, found, PLAIN.adapter, Path(sys.executable), empty_dsn, vectors)
        for spoken in CONVERSATIONS:
            assert await system.add(spoken) > 0
        for spoken in CONVERSATIONS:
            stored = await vectors.embed([episode.summary for episode in spoken.episodes()])
            for question in spoken.questions:
                (asked,) = await vectors.embed([question.text])
                exact = [f"m{i}" for i in np.argsort(-(stored @ asked), kind="stable")[:10]]
                ids, seconds = await system.search(spoken.name, question.text, 10)
                assert ids == exact
                assert seconds > 0
    assert list(found.versions) == ["psycopg"]


async def test_a_peer_is_measured_on_every_question_in_a_scope_of_its_own(empty_dsn: str) -> None:
    found = await run_peer(empty_dsn, PLAIN.adapter, name="plain")
    assert found.failure is None
    figures = found.figures("Made up")
    assert len(found.times_ms["Made up"]) == sum(len(c.questions) for c in CONVERSATIONS)
    assert figures["recall_at_5"] > 0.8
    assert figures["recall_at_20"] >= figures["recall_at_10"] >= figures["recall_at_5"]


async def test_what_a_peer_prints_does_not_stand_among_its_answers(
    empty_dsn: str, scripts: Path
) -> None:
    found = await run_peer(empty_dsn, adapter(scripts), name="noisy")
    assert found.failure is None
    assert found.figures("Made up")["mrr"] > 0


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ("raise ValueError('no such\\n index')", "search: ValueError: no such index"),
        ("os._exit(3)", "search: it ended with status 3"),
        ("setup = None; return setup.missing", "search: AttributeError"),
    ],
)
async def test_a_peer_that_fails_is_named_with_the_reason(
    empty_dsn: str, scripts: Path, search: str, reason: str
) -> None:
    found = await run_peer(empty_dsn, adapter(scripts, search=search), name="failing")
    assert found.failure is not None
    assert found.failure.startswith(reason)


async def test_a_peer_that_hangs_is_ended(empty_dsn: str, scripts: Path) -> None:
    path = adapter(scripts, search="time.sleep(3600)")
    found = await run_peer(empty_dsn, path, name="hanging", patience_s=5)
    assert found.failure == "search: no answer within 5 s, or killed"


async def test_a_peer_that_does_not_start_says_why(empty_dsn: str, scripts: Path) -> None:
    with pytest.raises(OpsError, match="open: ImportError: no such package"):
        await run_peer(
            empty_dsn, adapter(scripts, start="raise ImportError('no such package')"), name="x"
        )


async def test_a_peer_that_fails_leaves_the_others_measured(empty_dsn: str, scripts: Path) -> None:
    vectors, python = vectors_of(CONVERSATIONS), Path(sys.executable)
    bad, good = (Measured(name=name, title=name) for name in ("bad", "good"))
    broken = adapter(scripts, search="raise RuntimeError('gone')")
    async with AsyncExitStack() as stack:
        systems = [
            open_peer(stack, bad, broken, python, empty_dsn, vectors),
            open_peer(stack, good, PLAIN.adapter, python, empty_dsn, vectors),
        ]
        await measure(systems, CONVERSATIONS)
    report = outcome([good, bad], ["Made up"], ["a note"])
    assert report.failures == {"bad": "search: RuntimeError: gone"}
    (grid,) = report.tables
    assert [row[:3] for row in grid.rows] == [
        ("Made up", "good", f"{good.figures('Made up')['recall_at_5']:.3f}"),
        ("Made up", "bad", "failed"),
    ]
    assert {len(row) for row in grid.rows} == {len(grid.columns)}
    assert "Made up.good.recall_at_10" in report.figures
    assert not any(name.startswith("Made up.bad") for name in report.figures)


def test_a_peer_sees_neither_keys_nor_settings_and_reaches_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: Path
) -> None:
    monkeypatch.setenv("AEGIS_DATABASE_URL", "postgresql://mine")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "mine")
    monkeypatch.setenv("PGPASSWORD", "mine")
    monkeypatch.setenv("https_proxy", "http://mine")
    search = "return [f'{k}={v}' for k, v in os.environ.items()]"
    home = tmp_path / "home"
    home.mkdir()
    vectors_of(CONVERSATIONS).write(home)
    with started(Path(sys.executable), adapter(scripts, search=search), home) as process:
        process.call("open", dsn="", folder=str(home), vectors=str(home), dimensions=DIMENSIONS)
        seen = dict(
            v.split("=", 1) for v in process.call("search", scope="", question="", k=1)["ids"]
        )
    assert not any("mine" in value for value in seen.values())
    assert seen["HOME"] == str(home)
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert seen["https_proxy"] == "http://127.0.0.1:9"


def test_a_peer_that_cannot_be_installed_is_told_by_pip_s_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(OpsError, match="failed: ERROR: No matching distribution found"):
        install(_peer("aegis-no-such-package"), tmp_path)
    assert not list(tmp_path.glob("peers-*/installed-*"))
    # The environment stays, and serves what can be had: pip itself is there already.
    python = install(_peer("pip"), tmp_path)
    assert python.exists()
    assert [path.name for path in tmp_path.glob("peers-*/installed-*")] == ["installed-pip"]


def test_what_is_installed_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    first = install(_peer("pip"), tmp_path)
    monkeypatch.setattr(environment.subprocess, "run", _refuse)
    assert install(_peer("pip"), tmp_path) == first


def test_an_environment_whose_python_is_gone_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    python = install(_peer("pip"), tmp_path)
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert install(_peer("pip"), tmp_path) == python
    assert python.resolve().exists()


def test_a_python_that_does_not_start_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(OpsError, match="does not start"),
        started(tmp_path / "python", tmp_path / "adapter.py", tmp_path),
    ):
        raise AssertionError("It started.")


def test_other_pins_are_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(environment, "_run", ran.append)
    first = install(_peer("pip"), tmp_path)
    other = tmp_path / "requirements.txt"
    other.write_text("pip==1.0\n")
    monkeypatch.setattr(environment, "_REQUIREMENTS", other)
    assert install(_peer("pip"), tmp_path) != first
    assert [command[1:3] for command in ran] == [["-m", "venv"], ["-m", "pip"]] * 2


def test_requirements_are_pins_alone_and_cover_every_peer() -> None:
    lines = [
        line
        for line in Path(environment.__file__)
        .with_name("requirements.txt")
        .read_text()
        .splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in lines)
    pinned = {re.split("==", line)[0].lower().replace("_", "-") for line in lines}
    asked = {name.partition("[")[0] for peer in PEERS for name in peer.packages}
    assert asked <= pinned


def test_peers_are_chosen_by_name() -> None:
    assert choose("all") == PEERS
    assert [peer.name for peer in choose("mem0, chroma,mem0")] == ["mem0", "chroma"]
    with pytest.raises(InvalidInput, match="'letta' is no peer; use pgvector, langgraph"):
        choose("letta")


async def test_conversations_without_evidence_are_refused(tmp_path: Path) -> None:
    silent = Conversation(source="x", name="x", messages=[], questions=[])
    with pytest.raises(InvalidInput, match="nothing to ask"):
        await compare([silent], [], tmp_path)


def _peer(package: str) -> Peer:
    return Peer(name=package, title=package, adapter=Path(), packages=(package,), note="")


def _refuse(*arguments: object, **_named: object) -> None:
    raise AssertionError(f"{arguments} was run")
