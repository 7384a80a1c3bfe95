"""Language models as nodes, against a local server that speaks each provider's format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aegis.config import load_settings
from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.workflows.nodes.contract import TryLater, retryable
from aegis.workflows.nodes.registry import get_type
from tests.workflows.nodes.site import Answer, WebSite, serving_site
from tests.workflows.nodes.steps import a_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings


async def run(kind: str, settings: Settings, **params: Any) -> Any:
    return await get_type(kind).run(a_step(params=params, settings=settings))


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serving_site() as running:
        yield running


def said(**content: Any) -> Answer:
    return Answer(body=json.dumps(content).encode())


def anthropic(site: WebSite, **changes: Any) -> Settings:
    given = {"anthropic_url": site.url, "anthropic_api_key": "sk-ant-0123", "anthropic_model": "m"}
    return load_settings({}, **(given | changes))


async def test_anthropic_is_asked_in_its_own_form(site: WebSite) -> None:
    site.answers["/v1/messages"] = said(content=[{"type": "text", "text": "hi"}])
    found = await run("llm", anthropic(site), prompt="hello", system="be brief", max_tokens=7)
    assert found == {"text": "hi", "object": None, "model": "m"}
    (asked,) = site.asked
    assert asked.headers["x-api-key"] == "sk-ant-0123"
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(asked.body) == {
        "model": "m",
        "max_tokens": 7,
        "system": "be brief",
        "messages": [{"role": "user", "content": "hello"}],
    }


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def test_objects_are_asked_for_as_a_tool_and_looked_through(site: WebSite) -> None:
    site.answers["/v1/messages"] = said(
        content=[{"type": "tool_use", "name": "answer", "input": {"a": 1}}]
    )
    found = await run("llm", anthropic(site), prompt="a?", schema=SCHEMA)
    assert found["object"] == {"a": 1}
    assert json.loads(site.asked[0].body)["tool_choice"] == {"type": "tool", "name": "answer"}
    site.answers["/v1/messages"] = said(content=[{"type": "tool_use", "input": {"b": 1}}])
    with pytest.raises(Unavailable, match="left out a"):
        await run("llm", anthropic(site), prompt="a?", schema=SCHEMA)


@pytest.mark.parametrize(
    ("answer", "kind", "again"),
    [
        (Answer(status=401, body=b'{"error": {"message": "bad sk-ant-0123"}}'), ConfigError, False),
        (Answer(status=404), ConfigError, False),
        (Answer(status=400, body=b'{"error": {"message": "sk-ant-0123"}}'), ConfigError, False),
        (Answer(status=429, headers={"retry-after": "3"}), TryLater, True),
        (Answer(status=529), Unavailable, True),
        (Answer(body=b"{}"), Unavailable, True),
        (Answer(body=b"[[["), Unavailable, True),
        (Answer(hang_up=True), Unavailable, True),
        (said(content=[{"type": "text", "text": "x"}], stop_reason="max_tokens"), ConfigError, 0),
    ],
)
async def test_refusals_of_a_model_say_whether_to_ask_again(
    site: WebSite, answer: Answer, kind: type[AegisError], again: bool
) -> None:
    site.answers["/v1/messages"] = answer
    with pytest.raises(kind) as caught:
        await run("llm", anthropic(site), prompt="x")
    assert retryable(caught.value) is bool(again)
    assert "sk-ant-0123" not in str(caught.value)


async def test_openai_is_asked_where_it_is_set_up(site: WebSite) -> None:
    site.answers["/v1/chat/completions"] = said(choices=[{"message": {"content": '{"a": 2}'}}])
    settings = load_settings({}, llm_url=f"{site.url}/v1", llm_model="m")
    found = await run("llm", settings, prompt="a?", schema=SCHEMA, model="other")
    assert (found["object"], found["model"]) == ({"a": 2}, "other")
    assert json.loads(site.asked[0].body)["model"] == "other"
    for settings in (load_settings({}), load_settings({}, llm_url="http://127.0.0.1:1/v1")):
        with pytest.raises(ConfigError):
            await run("llm", settings, prompt="x")
