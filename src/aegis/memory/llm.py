"""A language model at any endpoint that speaks OpenAI's chat API, local servers included.

Nothing needs one: `open_language_model` returns None where none is configured. What a model
answers is a stranger's text; `read_object` takes a JSON object from it or refuses it, and whoever
asked checks every field. `AEGIS_LLM_TIMEOUT_S` covers a question with all its retries. The key
appears in no message.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from aegis.config import Settings

__all__ = ["ChatModel", "LanguageModel", "open_language_model", "read_object"]

_ATTEMPTS = 5
_FIRST_DELAY_S = 0.5
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
#: An answer beyond this is no answer to anything that is asked here.
_MAX_ANSWER_BYTES = 4 * 2**20
_MAX_DEPTH = 50


class LanguageModel(Protocol):
    """Answers a question in words."""

    async def complete(
        self, system: str, user: str, *, json_schema: Mapping[str, Any] | None
    ) -> str:
        """Return what the model says to `user`, told beforehand what `system` says.

        With `json_schema` the model is asked for a JSON object of that schema; what comes back
        may still be anything.

        Raises:
            Unavailable: no usable answer in time (`llm_unavailable`).
            ConfigError: the key or the model is refused (`llm_key`, `llm_model`).
        """
        ...


def open_language_model(settings: Settings) -> ChatModel | None:
    """Return the model that the settings name, or None where they name none.

    Raises:
        ConfigError: the URL or the key cannot be sent, or the model's name is missing.
    """
    return None if settings.llm_url is None else ChatModel(settings)


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a model's answer is, alone or in one fence.

    Raises:
        Unavailable: it is something else (`llm_answer`).
    """
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") : -3]
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise _useless("no JSON") from None
    if not isinstance(value, dict):
        raise _useless("JSON, but no object")
    if _too_deep(value):
        raise _useless(f"an object nested more than {_MAX_DEPTH} deep")
    return cast("dict[str, Any]", value)


class ChatModel:
    """Language model that asks `llm_url` for `llm_model`."""

    def __init__(self, settings: Settings, *, first_delay_s: float = _FIRST_DELAY_S) -> None:
        """Take url, key, model and time-out from `settings`; connect at first use.

        Raises:
            ConfigError: url or key cannot be sent, or no model is named.
        """
        self.model = settings.llm_model or ""
        if not self.model:
            raise ConfigError(
                "AEGIS_LLM_URL is set and AEGIS_LLM_MODEL is not; name the model to ask for.",
                code="llm_model",
            )
        self._timeout_s = settings.llm_timeout_s
        self._key = settings.llm_api_key
        self._endpoint, self._host = _endpoint(settings.llm_url or "")
        self._headers = _headers(self._key)
        self._first_delay_s = first_delay_s
        self._client: httpx2.AsyncClient | None = None
        #: Whether the endpoint takes a schema; some know `json_object` alone.
        self._schema = True

    async def complete(
        self, system: str, user: str, *, json_schema: Mapping[str, Any] | None
    ) -> str:
        """Return what the model says; see `LanguageModel.complete`."""
        deadline = anyio.current_time() + self._timeout_s
        while True:
            with_schema = json_schema is not None and self._schema
            status, body = await self._post(
                self._body(system, user, json_schema, with_schema), deadline
            )
            if status in (400, 422) and with_schema:
                self._schema = False
                continue
            self._check_status(status, body)
            return self._read(body)

    async def aclose(self) -> None:
        """Close the connections; the next question opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _body(
        self, system: str, user: str, json_schema: Mapping[str, Any] | None, with_schema: bool
    ) -> bytes:
        body: dict[str, Any] = {"model": self.model, "temperature": 0}
        if with_schema:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": json_schema},
            }
        elif json_schema is not None:
            body["response_format"] = {"type": "json_object"}
            system = f"{system}\n\nAnswer with one JSON object of this schema:\n" + json.dumps(
                json_schema
            )
        body["messages"] = [
            {"role": "system", "content": system},
            {"role": "user", "content": user},
        ]
        return json.dumps(body).encode(errors="replace")

    async def _post(self, body: bytes, deadline: float) -> tuple[int, bytes]:
        """Return the first answer that is not worth a retry, before `deadline`."""
        delay = self._first_delay_s
        for attempt in range(1, _ATTEMPTS + 1):
            status, answer, trouble, wish_s = await self._try_post(body, deadline)
            if status is not None and status not in _RETRIED:
                return status, answer
            pause = max(delay * random.uniform(0.5, 1.0), wish_s)  # noqa: S311 (spreads retries)
            if attempt == _ATTEMPTS or anyio.current_time() + pause >= deadline:
                raise self._unavailable(f"{trouble} (attempt {attempt})")
            await anyio.sleep(pause)
            delay *= 2
        raise AssertionError("unreachable")

    async def _try_post(self, body: bytes, deadline: float) -> tuple[int | None, bytes, str, float]:
        import httpx2

        if self._client is None:
            # The deadline of a question is the only time-out.
            self._client = httpx2.AsyncClient(timeout=None)
        try:
            with anyio.fail_after(max(deadline - anyio.current_time(), 0)):
                async with self._client.stream(
                    "POST", self._endpoint, content=body, headers=self._headers
                ) as reply:
                    answer = b""
                    async for part in reply.aiter_bytes():
                        answer += part
                        if len(answer) > _MAX_ANSWER_BYTES:
                            raise self._unavailable("answers without an end")
        except TimeoutError:
            return None, b"", f"did not answer within {self._timeout_s:g} s", 0.0
        except httpx2.HTTPError as error:
            # The error's text may quote a header, and so the key.
            return None, b"", f"cannot be reached ({type(error).__name__})", 0.0
        wish_s = _seconds(reply.headers.get("Retry-After"))
        return reply.status_code, answer, f"answers with HTTP {reply.status_code}", wish_s

    def _check_status(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        if status in (401, 403):
            raise ConfigError(
                f"{self._host} refuses the key (HTTP {status}); check AEGIS_LLM_API_KEY.",
                code="llm_key",
            )
        if status in (301, 302, 307, 308, 404, 405):
            raise ConfigError(
                f"{self._host} has no {self.model} under this URL (HTTP {status}); check "
                "AEGIS_LLM_URL and AEGIS_LLM_MODEL.",
                code="llm_model",
            )
        raise self._unavailable(f"refuses the question: HTTP {status} {self._reason(body)}".strip())

    def _reason(self, body: bytes) -> str:
        try:
            reason = str(json.loads(body)["error"]["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        # Replaced before it is cut: a cut key would no longer be recognised.
        return " ".join((reason.replace(self._key, "…") if self._key else reason).split())[:200]

    def _read(self, body: bytes) -> str:
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            content = None
        if not isinstance(content, str) or not content.strip():
            raise self._unavailable("sent no usable answer (no text)")
        return content

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
                "AEGIS_LLM_API_KEY has a space, a line break or a letter that no key has; "
                "copy it again.",
                code="llm_key",
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers


def _seconds(text: str | None) -> float:
    """Return the seconds that an answer asks to wait, as far as it says a number."""
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < float("inf") else 0.0


def _too_deep(value: Any) -> bool:
    """Look level by level: what is nested too deeply cannot be walked by recursion."""
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += cast("dict[str, Any]", part).values()
            elif isinstance(part, list):
                below += cast("list[Any]", part)
        if not below:
            return False
        level = below
    return True


def _useless(what: str) -> Unavailable:
    return Unavailable(
        f"The language model answered with {what}; ask again, or choose a model that can answer "
        "in JSON.",
        code="llm_answer",
    )
