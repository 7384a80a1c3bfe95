"""Embedder on any endpoint that speaks OpenAI's embeddings API, local servers included.

Surprises: `AEGIS_EMBEDDING_TIMEOUT_S` covers a request with all its retries. The name stored beside
a vector is model/dimensions, because a shortened vector compares with its own kind only. The API
refuses empty text, so a space stands for it. The key appears in no message. Time spent waiting for
our own limits (`AEGIS_EMBEDDING_REQUESTS_PER_MINUTE`, `…_TOKENS_PER_MINUTE`) does not count, but a
question does not wait longer than the time-out for them. `usage` counts calls and tokens.
"""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import anyio

from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.memory.embedding.pace import Pace
from aegis.memory.embedding.usage import Usage, tokens_answered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx2

    from aegis.config import Settings
    from aegis.memory.embedding import Vectors

__all__ = ["OpenAI"]

#: OpenAI takes 2,048 texts and 300,000 tokens a request; smaller ones fail and repeat cheaper.
_BATCH_TEXTS = 128
_BATCH_CHARACTERS = 200_000
#: About the 8,192 tokens that OpenAI's models read, at 3 characters a token.
_MAX_CHARACTERS = 24_000
_PARALLEL = 4
_ATTEMPTS = 5
_FIRST_DELAY_S = 0.25
#: More texts than a question has: they may wait for a limit, and longer when asked to.
_BULK_TEXTS = 8
_BULK_PATIENCE_S = 120.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


class OpenAI:
    """Embedder that asks `embedding_url` for `embedding_model`."""

    provider = "openai"

    def __init__(
        self,
        settings: Settings,
        *,
        first_delay_s: float = _FIRST_DELAY_S,
        prefix: str = "AEGIS_EMBEDDING",
    ) -> None:
        """Take url, key, model, dimensions and time-out from `settings`; connect at first use.

        `prefix` begins the names of the settings in messages.

        Raises:
            ConfigError: url or key cannot be sent (`embedder_url`, `embedder_key`).
        """
        self.model = f"{settings.embedding_model}/{settings.embedding_dimensions}"
        self.dimensions = settings.embedding_dimensions
        self._settings = settings
        self.usage = Usage()
        self.usd_per_million_tokens = settings.embedding_usd_per_million_tokens
        self.requests_per_minute = settings.embedding_requests_per_minute
        self.tokens_per_minute = settings.embedding_tokens_per_minute
        self._prefix = prefix
        self._endpoint, self._host = _endpoint(settings.embedding_url, f"{prefix}_URL")
        self._headers = _headers(settings.embedding_api_key, f"{prefix}_API_KEY")
        self._pace = Pace(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        self._first_delay_s = first_delay_s
        self._client: httpx2.AsyncClient | None = None
        #: What this endpoint turned out to want; see `_adapt`.
        self._format: str = "base64"
        self._send_dimensions = False

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; see `Embedder.embed`. Equal texts are asked for once.

        Raises:
            Unavailable: no usable answer in time (`embedder_unavailable`).
            ConfigError: key, model or dimensions are refused (`embedder_key`, `embedder_model`,
                `embedder_dimensions`).
        """
        import numpy as np

        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = np.empty((len(row_of), self.dimensions), np.float32)
        parts = _batches(list(row_of))
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(_PARALLEL, math.ceil(len(row_of) / _BATCH_TEXTS))):
                    group.start_soon(self._fill, vectors, parts)
        except BaseExceptionGroup as group_error:
            # Callers know single errors: the first one stands for all.
            first = group_error.exceptions[0]
            if isinstance(first, AegisError):
                self.usage.fail(first.message)
            raise first from None
        return vectors[[row_of[text] for text in texts]]

    async def warm(self) -> None:
        """Do nothing: there is nothing to load."""

    async def aclose(self) -> None:
        """Close the connections; the next `embed` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _fill(self, vectors: Vectors, parts: Iterator[tuple[int, list[str]]]) -> None:
        for start, texts in parts:
            vectors[start : start + len(texts)] = await self._embed_batch(texts)

    async def _embed_batch(self, texts: list[str]) -> Vectors:
        deadline = anyio.current_time() + self._settings.embedding_timeout_s
        while True:
            asked = self._format, self._send_dimensions
            reply, deadline = await self._post(texts, deadline)
            if reply.status_code in (400, 422) and asked[0] == "base64":
                self._format = "float"  # a server that knows only the older form
                continue
            self._check_status(reply)
            vectors = self._read(reply, texts)
            if vectors.shape[1] == self.dimensions:
                return self._unit(vectors)
            if asked[1] or vectors.shape[1] < self.dimensions:
                raise ConfigError(
                    f"{self._settings.embedding_model} at {self._host} answers with "
                    f"{vectors.shape[1]} dimensions, {self._prefix}_DIMENSIONS is "
                    f"{self.dimensions}; set it to {vectors.shape[1]}.",
                    code="embedder_dimensions",
                )
            self._send_dimensions = True  # longer than wanted: some models shorten on request

    def _body(self, texts: list[str]) -> bytes:
        body: dict[str, Any] = {
            "model": self._settings.embedding_model,
            "input": [text[:_MAX_CHARACTERS] or " " for text in texts],
            "encoding_format": self._format,
        }
        if self._send_dimensions:
            body["dimensions"] = self.dimensions
        return json.dumps(body).encode()

    async def _post(self, texts: list[str], deadline: float) -> tuple[httpx2.Response, float]:
        """Return the first answer that is not worth a retry, and the deadline as it is by then."""
        body, bulk = self._body(texts), len(texts) > _BULK_TEXTS
        delay = self._first_delay_s
        for attempt in range(1, _ATTEMPTS + 1):
            deadline += await self._wait_for_turn(texts, deadline, bulk=bulk)
            reply, trouble = await self._try_post(body, deadline)
            if reply is not None and reply.status_code not in _RETRIED:
                return reply, deadline
            asked_to_wait = _retry_after_s(reply)
            if asked_to_wait is not None:
                # Whatever else is to be sent waits as well.
                self._pace.hold(anyio.current_time() + min(asked_to_wait, _BULK_PATIENCE_S))
                if bulk and asked_to_wait <= _BULK_PATIENCE_S:
                    deadline += asked_to_wait
            pause = delay * random.uniform(0.5, 1.0) if asked_to_wait is None else asked_to_wait  # noqa: S311
            left = deadline - anyio.current_time()
            if attempt == _ATTEMPTS or pause >= left:
                wish = "" if asked_to_wait is None else f" and asks to wait {asked_to_wait:.0f} s"
                raise self._unavailable(f"{trouble}{wish} (attempt {attempt})")
            await anyio.sleep(pause)
            delay *= 2
        raise AssertionError("unreachable")

    async def _wait_for_turn(self, texts: list[str], deadline: float, *, bulk: bool) -> float:
        """Wait until the limits allow a request, and return for how long that was."""
        now = anyio.current_time()
        booking = self._pace.book(_tokens_about(texts), now=now)
        wait = booking.at - now
        if wait <= 0:
            return 0.0
        if not bulk and wait >= deadline - now:
            self._pace.cancel(booking)
            raise self._unavailable(
                f"may not be asked for another {wait:.0f} s, by its own word or by "
                f"{self._prefix}_REQUESTS_PER_MINUTE and {self._prefix}_TOKENS_PER_MINUTE"
            )
        await anyio.sleep(wait)
        return wait

    async def _try_post(self, body: bytes, deadline: float) -> tuple[httpx2.Response | None, str]:
        import httpx2

        if self._client is None:
            # The deadline of a request is the only time-out.
            self._client = httpx2.AsyncClient(timeout=None)
        try:
            with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
                reply = await self._client.post(self._endpoint, content=body, headers=self._headers)
        except TimeoutError:
            return None, f"did not answer within {self._settings.embedding_timeout_s:g} s"
        except httpx2.RequestError as error:
            # The error's text may quote a header, and so the key.
            return None, f"cannot be reached ({type(error).__name__})"
        return reply, f"answers with HTTP {reply.status_code}"

    def _check_status(self, reply: httpx2.Response) -> None:
        status = reply.status_code
        if status == 200:
            return
        if status in (401, 403):
            raise ConfigError(
                f"{self._host} refuses the key (HTTP {status}); check {self._prefix}_API_KEY.",
                code="embedder_key",
            )
        if status in (301, 302, 307, 308, 404, 405):
            raise ConfigError(
                f"{self._host} has no {self._settings.embedding_model} under this URL (HTTP "
                f"{status}); check {self._prefix}_URL and {self._prefix}_MODEL.",
                code="embedder_model",
            )
        trouble = f"refuses the request: HTTP {status} {self._reason(reply)}".strip()
        if status in (400, 413, 422):
            # A text of it may be at fault, and others pass.
            raise self._unavailable(trouble, code="embedder_refused")
        raise self._unavailable(trouble)

    def _reason(self, reply: httpx2.Response) -> str:
        try:
            reason = str(reply.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return ""
        key = self._settings.embedding_api_key
        # Replaced before it is cut: a cut key would no longer be recognised.
        return " ".join((reason.replace(key, "…") if key else reason).split())[:200]

    def _read(self, reply: httpx2.Response, texts: list[str]) -> Vectors:
        """Return the vectors as they came, in the order of the texts, and count them."""
        import numpy as np

        count = len(texts)
        try:
            answer: Any = reply.json()
            # What was answered is paid for, whether it can be used or not.
            self.usage.count(texts=count, tokens=tokens_answered(answer) or _tokens_about(texts))
            rows = cast("list[dict[str, Any]]", answer["data"])
            ordered = sorted(rows, key=lambda row: row["index"])
            if [row["index"] for row in ordered] != list(range(count)):
                raise ValueError(f"{len(rows)} vectors for {count} texts")
            return np.stack([_vector(row["embedding"]) for row in ordered])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            what = (
                str(error).splitlines()[0][:100] if isinstance(error, ValueError) else "no vectors"
            )
            raise self._unavailable(f"sent no usable answer ({what})") from None

    def _unit(self, vectors: Vectors) -> Vectors:
        import numpy as np

        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise self._unavailable("sent a vector of zeros, or one with NaN or infinity")
        return cast("Vectors", (vectors / norms).astype(np.float32))

    def _unavailable(self, trouble: str, *, code: str = "embedder_unavailable") -> Unavailable:
        return Unavailable(
            f"The embedding endpoint {self._host} {trouble}; check {self._prefix}_URL, "
            "or try again later.",
            code=code,
        )


def _endpoint(url: str, setting: str) -> tuple[str, str]:
    """Return the address to post to, and its host and port for messages."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        raise ConfigError(
            f"{setting} is not a web address; use one such as https://api.openai.com/v1.",
            code="embedder_url",
        )
    return url.rstrip("/") + "/embeddings", f"{host}:{port}" if port else host


def _headers(key: str | None, setting: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"{setting} has a space, a line break or a letter that no key has; copy it again.",
                code="embedder_key",
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers


def _batches(texts: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the index of each batch's first text, and the batch."""
    start = characters = 0
    for end, text in enumerate(texts):
        size = min(len(text), _MAX_CHARACTERS)
        if end - start == _BATCH_TEXTS or (end > start and characters + size > _BATCH_CHARACTERS):
            yield start, texts[start:end]
            start, characters = end, 0
        characters += size
    if start < len(texts):
        yield start, texts[start:]


def _tokens_about(texts: list[str]) -> int:
    """Return about how many tokens the texts are, as they are sent."""
    return sum(max(1, min(len(text), _MAX_CHARACTERS) // 4) for text in texts)


def _vector(embedding: str | list[float]) -> Vectors:
    import base64

    import numpy as np

    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    with np.errstate(over="ignore"):  # becomes infinity, which is refused later
        vector = np.asarray(embedding, np.float32)
    if vector.ndim != 1:
        raise ValueError("a vector that is not a list of numbers")
    return vector


def _retry_after_s(reply: httpx2.Response | None) -> float | None:
    """Return the seconds that the answer asks to wait: a number or a date (RFC 9110, 10.2.3)."""
    value = None if reply is None else reply.headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
