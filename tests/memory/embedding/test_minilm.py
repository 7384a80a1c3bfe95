from __future__ import annotations

import asyncio
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aegis.config import Settings
from aegis.errors import ConfigError, Unavailable
from aegis.memory.embedding import open_embedder, vector_bytes, vector_text
from aegis.memory.embedding.encoder import load_encoder, model_file
from aegis.memory.embedding.minilm import DIMENSIONS, MiniLM
from aegis.memory.embedding.wordpiece import load_tokenizer, read_vocabulary

if TYPE_CHECKING:
    from aegis.memory.embedding import Vectors


@cache
def minilm() -> MiniLM:
    """One loaded model for all tests; it keeps nothing between calls."""
    return MiniLM()


def embed(*texts: str) -> Vectors:
    return asyncio.run(minilm().embed(texts))


def test_a_paraphrase_is_closer_than_an_unrelated_text() -> None:
    question, paraphrase, unrelated = embed(
        "How do I restore the database from a backup?",
        "Restoring data with last night's database dump",
        "The cafeteria serves soup on Tuesdays",
    )
    assert question @ paraphrase > 0.4
    assert question @ unrelated < 0.15


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        # Of the model's float32 original; eight-bit arithmetic may move a little, not more.
        ("a man eats food", "someone is eating a meal", 0.747),
        ("a man eats food", "the stock market fell", -0.001),
    ],
)
def test_similarities_are_those_of_the_float_model(one: str, other: str, similarity: float) -> None:
    left, right = embed(one, other)
    assert left @ right == pytest.approx(similarity, abs=0.02)


def test_processors_without_vnni_compute_the_same_vectors() -> None:
    tokens = load_tokenizer().encode("What did the deployment change last Friday?").ids
    one, other = (load_encoder(vnni=vnni).encode(tokens) for vnni in (True, False))
    assert one @ other > 0.9999


def test_vectors_are_float32_rows_of_unit_length() -> None:
    vectors = embed("one", "two words", "three words here")
    assert vectors.shape == (3, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_vector_depends_on_its_text_only() -> None:
    texts = [f"{'word ' * (7 * n % 90)} number {n}" for n in range(40)]
    together = embed(*texts)
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(embed(text)[0], vector)


def test_equal_texts_get_equal_vectors_and_are_computed_once() -> None:
    model = MiniLM()
    computed: list[str] = []
    encode = model._encode

    def encode_and_note(texts: list[str]) -> list[Vectors]:
        computed.extend(texts)
        return encode(texts)

    model._encode = encode_and_note  # type: ignore[method-assign]
    vectors = asyncio.run(model.embed(["a", "b", "a", "a"]))
    assert sorted(computed) == ["a", "b"]
    assert np.array_equal(vectors[0], vectors[2])
    assert np.array_equal(vectors[0], vectors[3])
    assert not np.array_equal(vectors[0], vectors[1])


def test_no_texts_give_no_rows() -> None:
    assert embed().shape == (0, DIMENSIONS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00\x01",
        "🎉👩‍👩‍👧‍👦",
        "naïve Übergröße",
        "記憶は大切です",
        "a\ud800b",
        "\ufeff",
        "[MASK] [SEP]",
    ],
)
def test_any_text_has_a_finite_vector(text: str) -> None:
    (vector,) = embed(text)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_text_beyond_256_tokens_is_ignored() -> None:
    start = "river " * 254
    kept, cut = embed(start, start + "and something else entirely")
    assert np.array_equal(kept, cut)
    assert not np.array_equal(*embed("river " * 253, "river " * 253 + "else"))


def test_a_text_of_megabytes_is_as_good_as_its_start() -> None:
    start = "the deployment failed because the disk was full " * 400
    assert np.array_equal(*embed(start, start * 200))


def test_case_and_accents_make_no_difference() -> None:
    assert np.array_equal(*embed("Résumé of the CAFÉ", "resume of the cafe"))


def test_many_calls_at_once_each_get_their_own_answer() -> None:
    texts = [f"message number {n} about topic {n % 7}" for n in range(60)]

    async def all_at_once() -> list[Vectors]:
        model = minilm()
        return await asyncio.gather(*(model.embed([text]) for text in texts))

    rows = np.concatenate(asyncio.run(all_at_once()))
    assert np.array_equal(rows, embed(*texts))


def test_the_event_loop_runs_while_texts_are_embedded() -> None:
    async def count_turns() -> int:
        turns = 0
        work = asyncio.create_task(minilm().embed([f"text {n}" for n in range(64)]))
        while not work.done():
            turns += 1
            await asyncio.sleep(0)
        await work
        return turns

    assert asyncio.run(count_turns()) > 50


def test_a_cancelled_bulk_load_stops_and_the_next_call_works() -> None:
    async def cancel_one() -> Vectors:
        work = asyncio.create_task(minilm().embed([f"text {n} " * 50 for n in range(400)]))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return await minilm().embed(["still here"])

    assert asyncio.run(cancel_one()).shape == (1, DIMENSIONS)


def test_a_closed_embedder_loads_again() -> None:
    async def close_between() -> tuple[Vectors, Vectors]:
        model = MiniLM()
        before = await model.embed(["again"])
        await model.aclose()
        return before, await model.embed(["again"])

    before, after = asyncio.run(close_between())
    assert np.array_equal(before, after)


@pytest.mark.parametrize("texts", [["one"], [f"text {n}" for n in range(50)]])
def test_a_changed_model_file_is_refused(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "model.onnx"
    content = bytearray(model_file().read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        asyncio.run(MiniLM(path=path).embed(texts))
    assert caught.value.code == "embedder_model_corrupt"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_missing_or_broken_model_file_is_a_config_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        asyncio.run(MiniLM(path=path).warm())
    assert caught.value.code in ("embedder_model_corrupt", "embedder_model_missing")


def test_an_unreadable_model_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)  # too long a name for any file system
    with pytest.raises(Unavailable) as caught:
        asyncio.run(MiniLM(path=path).warm())
    assert caught.value.code == "embedder_unavailable"


def test_the_vocabulary_is_the_published_one() -> None:
    text = "\n".join(read_vocabulary()) + "\n"
    assert len(read_vocabulary()) == 30_522
    assert (
        sha256(text.encode()).hexdigest()
        == "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
    )


def test_text_is_tokenised_as_bert_uncased_does() -> None:
    tokens = load_tokenizer().encode("Unaffable naïve tokenizers, 2024!").tokens
    assert tokens == [
        *("[CLS]", "una", "##ffa", "##ble", "naive", "token", "##izer", "##s", ","),
        *("202", "##4", "!", "[SEP]"),
    ]


def test_settings_choose_the_embedder() -> None:
    assert open_embedder(Settings(embedder="none")) is None
    built_in = open_embedder(Settings())
    assert built_in is not None
    assert (built_in.model, built_in.dimensions) == ("all-MiniLM-L6-v2-onnx-int8", 384)
    remote = open_embedder(Settings(embedder="openai"))
    assert remote is not None
    assert (remote.model, remote.dimensions) == ("text-embedding-3-small/1536", 1536)


def test_opening_an_embedder_imports_nothing_heavy() -> None:
    code = (
        "import sys; from aegis.config import Settings; "
        "from aegis.memory.embedding import open_embedder; "
        "open_embedder(Settings()); open_embedder(Settings(embedder='openai')); "
        "print([m for m in ('numpy', 'onnxruntime', 'tokenizers', 'httpx2') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_loaded_model_takes_little_memory() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        return  # only Linux tells
    code = (
        "import asyncio, numpy, onnxruntime, tokenizers\n"
        "from aegis.memory.embedding.minilm import MiniLM\n"
        "def rss(): return int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])\n"
        "before = rss(); model = MiniLM()\n"
        "asyncio.run(model.embed(['a question', 'and another']))\n"
        "print((rss() - before) / 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 70


def test_vectors_have_pgvectors_text_and_binary_form() -> None:
    vector = np.array([0.5, -0.25, 1 / 3], np.float32)
    assert np.array_equal(np.array(vector_text(vector)[1:-1].split(","), np.float32), vector)
    assert vector_bytes(vector)[:4] == b"\x00\x03\x00\x00"
    assert np.array_equal(np.frombuffer(vector_bytes(vector)[4:], ">f4"), vector)
