"""A language model at Anthropic's messages API, asked the same way as `memory.llm.ChatModel`.

One question is one request: the workflow's engine tries again, with its pauses, and an answer's
`retry-after` is heeded. A schema is asked for as a tool that has to be called, which is how that
API returns objects. The key appears in no message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import anyio

from aegis.errors import ConfigError, Unavailable
from aegis.workflows.nodes.contract import TryLater

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.config import Settings

__all__ = ["AnthropicModel"]

_VERSION: Final = "2023-06-01"
_MOST_BYTES = 4 << 20
_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class AnthropicModel:
    """Language model that asks `anthropic_url` for one model."""

    def __init__(self, settings: Settings, *, model: str | None, max_tokens: int) -> None:
        key = settings.anthropic_api_key
        if not key or not model:
            missing = "AEGIS_ANTHROPIC_MODEL" if key else "AEGIS_ANTHROPIC_API_KEY"
            raise ConfigError(f"{missing} is not set; nodes of type llm need it.", code="llm_key")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                "AEGIS_ANTHROPIC_API_KEY has a space, a line break or a letter that no key has; "
                "copy it again.",
                code="llm_key",
            )
        self.model = model
        self._key = key
        self._max_tokens = max_tokens
        self._timeout_s = settings.llm_timeout_s
        self._url = settings.anthropic_url.rstrip("/") + "/v1/messages"
        self._host = urlsplit(self._url).netloc or "AEGIS_ANTHROPIC_URL"

    async def complete(
        self, system: str, user: str, *, json_schema: Mapping[str, Any] | None
    ) -> str:
        """Return what the model says; with a schema, an object of it as JSON text.

        Raises:
            Unavailable: no usable answer (`llm_unavailable`).
            ConfigError: the key, the model or the address is refused (`llm_key`, `llm_model`).
        """
        status, body, after_s = await self._post(self._body(system, user, json_schema))
        if status == 200:
            return self._read(body, wants_object=json_schema is not None)
        raise self._refusal(status, body, after_s)

    async def aclose(self) -> None:
        """Close nothing: a connection lives as long as its question."""

    def _body(self, system: str, user: str, schema: Mapping[str, Any] | None) -> bytes:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self._max_tokens,
            "messages": [{"role": "user", "content": user}],
        }
        if system:
            body["system"] = system
        if schema is not None:
            body["tools"] = [
                {"name": "answer", "description": "The answer.", "input_schema": schema}
            ]
            body["tool_choice"] = {"type": "tool", "name": "answer"}
        return json.dumps(body).encode(errors="replace")

    async def _post(self, body: bytes) -> tuple[int, bytes, float]:
        import httpx2

        headers = {
            "x-api-key": self._key,
            "anthropic-version": _VERSION,
            "content-type": "application/json",
        }
        try:
            with anyio.fail_after(self._timeout_s):
                async with (
                    httpx2.AsyncClient(timeout=None) as client,
                    client.stream("POST", self._url, content=body, headers=headers) as reply,
                ):
                    answer = b""
                    async for part in reply.aiter_bytes():
                        answer += part
                        if len(answer) > _MOST_BYTES:
                            raise self._unavailable("answers without an end")
                    return reply.status_code, answer, _seconds(reply.headers.get("retry-after"))
        except TimeoutError:
            raise self._unavailable(f"did not answer within {self._timeout_s:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The error's text may quote a header, and so the key.
            raise self._unavailable(f"cannot be reached ({type(error).__name__})") from None

    def _refusal(self, status: int, body: bytes, after_s: float) -> Exception:
        if status in (401, 403):
            return ConfigError(
                f"{self._host} refuses the key (HTTP {status}); check AEGIS_ANTHROPIC_API_KEY.",
                code="llm_key",
            )
        said = self._reason(body)
        if status in (404, 405):
            return ConfigError(
                f"{self._host} has no {self.model} (HTTP {status}) {said}; check "
                "AEGIS_ANTHROPIC_MODEL and AEGIS_ANTHROPIC_URL.",
                code="llm_model",
            )
        if status not in _RETRIED:
            return ConfigError(
                f"{self._host} refuses the question: HTTP {status} {said}".strip(), code="llm_model"
            )
        message = f"{self._host} answers with HTTP {status} {said}".strip()
        if after_s:
            return TryLater(message, after_s=after_s, code="llm_unavailable")
        return Unavailable(message, code="llm_unavailable")

    def _reason(self, body: bytes) -> str:
        try:
            reason = str(json.loads(body)["error"]["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return " ".join(reason.replace(self._key, "…").split())[:200]

    def _read(self, body: bytes, *, wants_object: bool) -> str:
        try:
            answer = json.loads(body)
            parts = cast("list[Any]", answer["content"])
            if wants_object:
                for part in parts:
                    if part["type"] == "tool_use":
                        return json.dumps(part["input"])
            text = "".join(part["text"] for part in parts if part["type"] == "text")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._unavailable("sent no usable answer") from None
        if not text.strip():
            raise self._unavailable("sent no usable answer (no text)")
        if answer.get("stop_reason") == "max_tokens":
            raise ConfigError(
                f"The answer is longer than max_tokens ({self._max_tokens:,}); allow more, or ask "
                "for less.",
                code="llm_tokens",
            )
        return text

    def _unavailable(self, trouble: str) -> Unavailable:
        return Unavailable(
            f"The language model at {self._host} {trouble}; try again later.",
            code="llm_unavailable",
        )


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return min(seconds, 3_600.0) if seconds > 0 else 0.0
