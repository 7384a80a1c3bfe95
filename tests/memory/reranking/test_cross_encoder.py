"""The adapter of fastembed's cross-encoder, with a module in its place: it is an extra."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from aegis.config import load_settings
from aegis.errors import ConfigError, Unavailable
from aegis.memory.reranking import open_reranker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from aegis.memory.reranking import Reranker

MODULE = "fastembed.rerank.cross_encoder"


class Encoder:
    """Scores by length; has the signature of `fastembed.rerank.cross_encoder.TextCrossEncoder`."""

    made: list[dict[str, Any]]
    gate: threading.Event
    trouble: Exception | None = None

    def __init__(self, model_name: str, **kwargs: Any) -> None:
        if model_name == "unknown":
            raise ValueError("Model unknown is not supported in TextCrossEncoder.")
        self.made.append({"model_name": model_name} | kwargs)

    def rerank(self, query: str, documents: Iterable[str], batch_size: int = 64) -> Iterator[float]:
        for text in documents:
            assert self.gate.wait(30)
            if self.trouble is not None:
                raise self.trouble
            yield float(len(text))


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> type[Encoder]:
    class Fresh(Encoder):
        made: list[dict[str, Any]] = []  # noqa: RUF012
        gate = threading.Event()

    Fresh.gate.set()
    module = ModuleType(MODULE)
    module.__dict__["TextCrossEncoder"] = Fresh
    monkeypatch.setitem(sys.modules, MODULE, module)
    for parent in ("fastembed", "fastembed.rerank"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    return Fresh


def opened(path: Path, **changes: Any) -> Reranker:
    found = open_reranker(load_settings({}, reranker="fastembed", reranker_path=path, **changes))
    assert found is not None
    return found


async def test_the_model_is_loaded_once_from_the_folder_and_never_from_the_network(
    encoder: type[Encoder], tmp_path: Path
) -> None:
    reranker = opened(tmp_path)
    assert encoder.made == []
    assert await reranker.score("why?", ["a", "bbb"]) == [1.0, 3.0]
    assert await reranker.score("why?", ["bb"]) == [2.0]
    assert encoder.made == [
        {
            "model_name": "Xenova/ms-marco-MiniLM-L-6-v2",
            "specific_model_path": str(tmp_path),
            "local_files_only": True,
        }
    ]
    await reranker.aclose()


async def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(ConfigError, match=r"pip install 'aegis-core\[fastembed\]'") as error:
        await opened(tmp_path).score("why?", ["a"])
    assert error.value.code == "reranker_extra"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (None, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="AEGIS_RERANKER_PATH"):
            open_reranker(load_settings({}, reranker="fastembed", reranker_path=path))


async def test_a_model_that_fastembed_does_not_know_is_refused(
    encoder: type[Encoder], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="AEGIS_RERANKER_MODEL"):
        await opened(tmp_path, reranker_model="unknown").score("why?", ["a"])


async def test_a_failed_run_says_so_and_the_next_one_serves(
    encoder: type[Encoder], tmp_path: Path
) -> None:
    reranker = opened(tmp_path)
    encoder.trouble = RuntimeError("out of memory")
    with pytest.raises(Unavailable, match="RuntimeError"):
        await reranker.score("why?", ["a"])
    encoder.trouble = None
    assert await reranker.score("why?", ["a"]) == [1.0]


async def test_a_run_that_is_given_up_on_makes_the_next_one_busy_until_it_ends(
    encoder: type[Encoder], tmp_path: Path
) -> None:
    reranker = opened(tmp_path)
    encoder.gate.clear()
    with anyio.move_on_after(0.05) as scope:
        await reranker.score("why?", ["a"])
    assert scope.cancelled_caught
    with pytest.raises(Unavailable, match="busy"):
        await reranker.score("why?", ["a"])
    encoder.gate.set()
    with anyio.fail_after(30):
        while True:
            try:
                assert await reranker.score("why?", ["a"]) == [1.0]
                break
            except Unavailable:
                await anyio.sleep(0)
