"""A language model as a node: any endpoint that speaks OpenAI's chat API, or Anthropic's.

What it answers is a stranger's text: with a schema, an object is taken from it and each field that
the schema requires is looked for; what a later node does with it is the workflow's to check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from aegis.errors import ConfigError, Unavailable
from aegis.memory.llm import ChatModel, read_object
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.config import Settings
    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.anthropic import AnthropicModel
    from aegis.workflows.nodes.contract import Step

__all__ = ["Llm"]


class Llm(Kind):
    """Asks a language model."""

    name = "llm"
    doc = "Asks the language model that `AEGIS_LLM_URL` or `AEGIS_ANTHROPIC_API_KEY` names."
    result = '`{"text", "object", "model"}`; `object` with a schema only'
    params: ClassVar[Mapping[str, Param]] = {
        "prompt": Param("text", "What is asked.", required=True, least=1, most=500_000),
        "system": Param("text", "What the model is told beforehand.", default="", most=100_000),
        "provider": Param(
            "text",
            "`openai` for any compatible endpoint, or `anthropic`; the one that is set up if left "
            "out.",
            choices=("openai", "anthropic"),
        ),
        "model": Param("text", "Another model than the setting names.", least=1, most=200),
        "schema": Param("object", "JSON Schema of the object that is wanted."),
        "max_tokens": Param(
            "whole", "Tokens of the answer at most (Anthropic).", default=4_096, least=1,
            most=64_000,
        ),
    }  # fmt: skip

    async def act(self, step: Step, **params: Any) -> JSON:
        """Ask, and read the answer."""
        model = _open(step.parts.settings, params)
        schema: dict[str, Any] | None = params["schema"]
        try:
            text = await model.complete(params["system"], params["prompt"], json_schema=schema)
        finally:
            await model.aclose()
        text = text.replace("\x00", "\ufffd")
        found = None
        if schema is not None:
            found = read_object(text)
            missing = [name for name in _required(schema) if name not in found]
            if missing:
                raise Unavailable(
                    f"The language model left out {', '.join(missing)[:200]}; ask again, or ask "
                    "for less.",
                    code="llm_answer",
                )
        return {"text": text, "object": found, "model": model.model}


def _open(settings: Settings, params: Mapping[str, Any]) -> ChatModel | AnthropicModel:
    provider = params["provider"] or ("openai" if settings.llm_url else "anthropic")
    if provider == "openai":
        if settings.llm_url is None:
            raise ConfigError(
                "No language model is set up; set AEGIS_LLM_URL and AEGIS_LLM_MODEL, or "
                "AEGIS_ANTHROPIC_API_KEY and AEGIS_ANTHROPIC_MODEL.",
                code="llm_url",
            )
        return ChatModel(replace(settings, llm_model=params["model"] or settings.llm_model))
    from aegis.workflows.nodes.anthropic import AnthropicModel

    return AnthropicModel(
        settings,
        model=params["model"] or settings.anthropic_model,
        max_tokens=params["max_tokens"],
    )


def _required(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required")
    if not isinstance(required, list):
        return []
    return [name for name in cast("list[Any]", required) if isinstance(name, str)]
