"""Reranker on an HTTP endpoint: Cohere's and Jina's format, and text-embeddings-inference's.

Which of the two the endpoint speaks is found out by asking: a server that refuses `documents` (HTTP
400 or 422) is asked with `texts` from then on. There is no retry: the budget of a question is
over before a second attempt would help. The key appears in no message.

https://docs.cohere.com/reference/rerank, https://jina.ai/reranker,
https://huggingface.co/docs/text-embeddings-inference (`/rerank`)
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from aegis.config import Settings

__all__ = ["HTTPReranker"]

#: An answer is some fifty bytes a text; one that echoes the texts is no reranker's answer.
_MAX_REPLY_BYTES = 1_000_000


class HTTPReranker:
    """Reranker that posts to `reranker_url`."""

    def __init__(self, settings: Settings) -> None:
        """Take URL, model and key from `settings`; connect at first use.

        The HTTP library is loaded here: a question's budget is not for that.

        Raises:
            ConfigError: URL or key are missing or cannot be sent (`reranker_url`,
                `reranker_key`).
        """
        self._endpoint, self._host = _endpoint(settings.reranker_url)
        self._headers = _headers(settings.reranker_api_key)
        self._model = settings.reranker_model
        self._client: httpx2.AsyncClient | None = _open_client()
        #: Whether the endpoint wants `texts`; found out by the first answer.
        self._texts_only = False

    async def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return one score per text; see `Reranker.score`.

        Raises:
            Unavailable: no usable answer (`reranker_unavailable`).
            ConfigError: the key or the model is refused (`reranker_key`, `reranker_model`).
        """
        if not texts:
            return []
        status, body = await self._post(question, texts)
        if status in (400, 422) and not self._texts_only:
            status, body = await self._post(question, texts, texts_only=True)
            self._texts_only = status == 200
        self._check_status(status)
        return self._read(body, len(texts))

    async def aclose(self) -> None:
        """Close the connections; the next `score` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(
        self, question: str, texts: Sequence[str], *, texts_only: bool = False
    ) -> tuple[int, bytes]:
        import httpx2

        if self._client is None:
            self._client = _open_client()
        body = self._body(question, texts, texts_only=texts_only or self._texts_only)
        read = bytearray()
        try:
            async with self._client.stream(
                "POST", self._endpoint, content=body, headers=self._headers
            ) as reply:
                async for chunk in reply.aiter_bytes():
                    read += chunk
                    if len(read) > _MAX_REPLY_BYTES:
                        raise self._unavailable(f"sends more than {_MAX_REPLY_BYTES:,} bytes")
        except (httpx2.RequestError, httpx2.StreamError) as error:
            # The error's text may quote a header, and so the key.
            raise self._unavailable(f"cannot be reached ({type(error).__name__})") from None
        return reply.status_code, bytes(read)

    def _body(self, question: str, texts: Sequence[str], *, texts_only: bool) -> bytes:
        if texts_only:
            body: dict[str, Any] = {"query": question, "texts": list(texts), "truncate": True}
        else:
            body = {"query": question, "documents": list(texts), "top_n": len(texts)}
            if self._model is not None:
                body["model"] = self._model
        return json.dumps(body).encode()

    def _check_status(self, status: int) -> None:
        if status == 200:
            return
        if status in (401, 403):
            raise ConfigError(
                f"{self._host} refuses the key (HTTP {status}); check AEGIS_RERANKER_API_KEY.",
                code="reranker_key",
            )
        if status in (301, 302, 307, 308, 404, 405):
            raise ConfigError(
                f"{self._host} reranks nothing under this URL (HTTP {status}); check "
                "AEGIS_RERANKER_URL and AEGIS_RERANKER_MODEL.",
                code="reranker_model",
            )
        raise self._unavailable(f"answers with HTTP {status}")

    def _read(self, body: bytes, count: int) -> list[float]:
        """Return the scores in the order of the texts."""
        try:
            answer = json.loads(body)
            rows = cast(
                "list[dict[str, Any]]", answer["results"] if isinstance(answer, dict) else answer
            )
            scores: dict[int, float] = {}
            for row in rows:
                value = row["relevance_score"] if "relevance_score" in row else row["score"]
                scores[_whole(row["index"])] = _finite(value)
            if len(rows) != count or sorted(scores) != list(range(count)):
                raise ValueError(f"{len(rows)} scores for {count} texts")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            known = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)
            what = str(error).splitlines()[0][:100] if known and str(error) else "no scores"
            raise self._unavailable(f"sent no usable answer ({what})") from None
        return [scores[index] for index in range(count)]

    def _unavailable(self, trouble: str) -> Unavailable:
        return Unavailable(
            f"The reranker at {self._host} {trouble}; check AEGIS_RERANKER_URL, or try again "
            "later.",
            code="reranker_unavailable",
        )


def _open_client() -> httpx2.AsyncClient:
    import httpx2

    # Whoever asks has a budget, and gives up when it is spent.
    return httpx2.AsyncClient(timeout=None)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("an index that is no whole number")
    return value


def _finite(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("a score that is no finite number")
    return float(value)


def _endpoint(url: str | None) -> tuple[str, str]:
    """Return the address to post to, and its host and port for messages."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not url or parts.scheme not in ("http", "https") or not host or not url.isprintable():
        raise ConfigError(
            "AEGIS_RERANKER_URL is missing or no web address; use one such as "
            "http://127.0.0.1:8080/rerank, or set AEGIS_RERANKER=none.",
            code="reranker_url",
        )
    path = url.rstrip("/")
    return path if path.endswith(
        "/rerank"
    ) else path + "/rerank", f"{host}:{port}" if port else host


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key is not None:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                "AEGIS_RERANKER_API_KEY has a space, a line break or a letter that no key has; "
                "copy it again.",
                code="reranker_key",
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers
