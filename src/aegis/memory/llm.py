"""A language model, where one is configured: any endpoint that speaks OpenAI's chat completions.

Nothing needs one. Surprises: `AEGIS_LLM_TIMEOUT_S` covers a request with all its retries; what it
answers is text of a stranger, and whoever asked has to check it. The key appears in no message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from aegis.config import Settings

__all__ = ["LanguageModel", "open_language_model"]

_ATTEMPTS = 3
_FIRST_DELAY_S = 0.5
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
#: A longer answer is none that anybody here asks for.
_MOST_BYTES = 1_000_000


class LanguageModel(Protocol):
    """Answers a question in words, or as JSON of a schema."""

    async def complete(
        self, system: str, user: str, *, json_schema: Mapping[str, Any] | None
    ) -> str:
        """Return what the model says to `user` under the rules of `system`.

        Raises:
            Unavailable: no usable answer in time (`llm_unavailable`).
            ConfigError: key or model are refused (`llm_key`, `llm_model`).
        """
        ...


def open_language_model(settings: Settings) -> LanguageModel | None:
    """Return the model that the settings name, None where they name none.

    Raises:
        ConfigError: the URL or the key cannot be sent (`llm_url`, `llm_key`).
    """
    if not settings.llm_url or not settings.llm_model:
        return None
    return _ChatModel(settings)


class _ChatModel:
    def __init__(self, settings: Settings, *, first_delay_s: float = _FIRST_DELAY_S) -> None:
        assert settings.llm_url is not None
        assert settings.llm_model is not None
        self._endpoint, self._host = _endpoint(settings.llm_url)
        self._headers = _headers(settings.llm_api_key)
        self._model = settings.llm_model
        self._timeout_s = settings.llm_timeout_s
        self._first_delay_s = first_delay_s

    async def complete(
        self, system: str, user: str, *, json_schema: Mapping[str, Any] | None
    ) -> str:
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ],
        }
        if json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(json_schema)},
            }
        reply = await self._post(json.dumps(body).encode())
        self._check_status(reply)
        return self._read(reply)

    async def _post(self, body: bytes) -> httpx2.Response:
        """Return the first answer that is not worth a retry, within the time-out."""
        import httpx2

        deadline = anyio.current_time() + self._timeout_s
        delay = self._first_delay_s
        # A connection for each question: a model takes seconds, and nobody has to close it.
        async with httpx2.AsyncClient(timeout=None) as client:
            for attempt in range(1, _ATTEMPTS + 1):
                reply, trouble = await self._try_post(client, body, deadline)
                if reply is not None and reply.status_code not in _RETRIED:
                    return reply
                if attempt == _ATTEMPTS or anyio.current_time() + delay >= deadline:
                    raise self._unavailable(f"{trouble} (attempt {attempt})")
                await anyio.sleep(delay)
                delay *= 2
        raise AssertionError("unreachable")

    async def _try_post(
        self, client: httpx2.AsyncClient, body: bytes, deadline: float
    ) -> tuple[httpx2.Response | None, str]:
        import httpx2

        try:
            with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
                reply = await client.post(self._endpoint, content=body, headers=self._headers)
        except TimeoutError:
            return None, f"did not answer within {self._timeout_s:g} s"
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
                f"{self._host} refuses the key (HTTP {status}); check AEGIS_LLM_API_KEY.",
                code="llm_key",
            )
        if status in (301, 302, 307, 308, 404, 405):
            raise ConfigError(
                f"{self._host} has no {self._model} under this URL (HTTP {status}); check "
                "AEGIS_LLM_URL and AEGIS_LLM_MODEL.",
                code="llm_model",
            )
        raise self._unavailable(f"refuses the request: HTTP {status}")

    def _read(self, reply: httpx2.Response) -> str:
        if len(reply.content) > _MOST_BYTES:
            raise self._unavailable("sent an answer that is too long")
        try:
            message = cast("dict[str, Any]", reply.json())["choices"][0]["message"]
            text = message["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise self._unavailable("sent no usable answer") from None
        if not isinstance(text, str):
            raise self._unavailable("sent no text")
        return text

    def _unavailable(self, trouble: str) -> Unavailable:
        return Unavailable(
            f"The language model at {self._host} {trouble}; check AEGIS_LLM_URL, or try again "
            "later.",
            code="llm_unavailable",
        )


def _endpoint(url: str) -> tuple[str, str]:
    """Return the address to post to, and its host and port for messages."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        raise ConfigError(
            "AEGIS_LLM_URL is not a web address; use one such as https://api.openai.com/v1.",
            code="llm_url",
        )
    return url.rstrip("/") + "/chat/completions", f"{host}:{port}" if port else host


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                "AEGIS_LLM_API_KEY has a space, a line break or a letter that no key has; copy it "
                "again.",
                code="llm_key",
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers
