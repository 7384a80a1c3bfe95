"""Answers of the providers, in their new and old shapes."""

from __future__ import annotations

from typing import Any

#: Two bytes in "é", four in the emoji: indices of Gemini's count them.
TEXT = "Café 🚀 grows [by half](https://a.example/one) a year."


def gemini(status: str = "completed", **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": "v1_int",
        "status": status,
        "agent": "deep-research-preview-04-2026",
        "created": "2026-11-29T10:00:00Z",
        "steps": [],
    }
    return {**document, **more}


def gemini_steps(text: str = TEXT, url: str = "https://a.example/one") -> list[dict[str, Any]]:
    encoded = text.encode()
    word = b"grows"
    start = encoded.index(word) if word in encoded else 0
    return [
        {"type": "thought", "summary": [{"type": "text", "text": "I think"}], "signature": "x"},
        {"type": "google_search_call", "id": "c1", "arguments": {"queries": ["growth"]}},
        {
            "type": "google_search_result",
            "call_id": "c1",
            "is_error": False,
            "result": [{"url": "https://a.example/one", "title": "One"}],
        },
        {"type": "model_output", "content": [{"type": "text", "text": "Draft."}]},
        {
            "type": "model_output",
            "content": [
                {
                    "type": "text",
                    "text": text,
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": url,
                            "title": "One",
                            "start_index": start,
                            "end_index": start + len(word),
                        }
                    ],
                }
            ],
        },
        {"type": "model_output", "content": [{"type": "text", "text": " "}]},
    ]


GEMINI_USAGE: dict[str, Any] = {
    "total_input_tokens": 250_000,
    "total_cached_tokens": 150_000,
    "total_output_tokens": 20_000,
    "total_thought_tokens": 30_000,
    "total_tool_use_tokens": 1_000,
    "total_tokens": 301_000,
    "grounding_tool_count": [{"type": "google_search", "count": 42}],
}


def perplexity(status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": "pplx_1",
        "model": "sonar-deep-research",
        "created_at": 1,
        "status": status,
    }
    return {**document, **more}


def perplexity_response(*, old: bool = False, cost: bool = True) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": 20,
        "completion_tokens": 3_000,
        "total_tokens": 3_020,
        "citation_tokens": 40_000,
        "num_search_queries": 18,
        "reasoning_tokens": 70_000,
    }
    if cost:
        usage["cost"] = {"input_tokens_cost": 0.00004, "total_cost": 0.4040401}
    response: dict[str, Any] = {
        "id": "r",
        "model": "sonar-deep-research",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "<think>secret [1]</think>\n\nIt grows [1][2], they say [9].",
                },
            }
        ],
        "citations": ["https://a.example/one", "https://b.example/two"],
        "usage": usage,
    }
    if not old:
        response["search_results"] = [
            {"title": "One", "url": "https://a.example/one", "date": "2026-10-01", "snippet": "s"},
            {"title": "Two", "url": "https://b.example/two", "date": None},
        ]
    return response


def claude_turn(
    *, stop: str = "end_turn", number: int = 1, text: str = "It grows.", error: str | None = None
) -> dict[str, Any]:
    result: Any = [
        {
            "type": "web_search_result",
            "url": "https://a.example/one",
            "title": "One",
            "page_age": "May 2026",
            "encrypted_content": f"enc{number}",
        }
    ]
    if error is not None:
        result = {"type": "web_search_tool_result_error", "error_code": error}
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "I will search."},
        {"type": "server_tool_use", "id": f"t{number}", "name": "web_search", "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": f"t{number}", "content": result},
    ]
    if stop != "pause_turn":
        content.append(
            {
                "type": "text",
                "text": text,
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://a.example/one",
                        "title": "One",
                        "cited_text": "grows by half",
                        "encrypted_index": "i",
                    }
                ],
            }
        )
        content.append({"type": "text", "text": " See https://invented.example/x."})
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": content,
        "stop_reason": stop,
        "usage": {
            "input_tokens": 10_000,
            "output_tokens": 1_000,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 2_000,
            "server_tool_use": {"web_search_requests": 3},
        },
    }


def claude_events(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The same message as a stream tells it."""
    usage = message["usage"]
    begin = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": begin}, {"type": "ping"}]
    for at, block in enumerate(message["content"]):
        kind = block["type"]
        empty = dict(block)
        deltas: list[dict[str, Any]] = []
        if kind == "text":
            empty = {"type": "text", "text": ""}
            half = len(block["text"]) // 2
            for part in (block["text"][:half], block["text"][half:]):
                deltas.append({"type": "text_delta", "text": part})
            for citation in block.get("citations", []):
                deltas.append({"type": "citations_delta", "citation": citation})
        elif kind == "server_tool_use":
            empty = {**block, "input": {}}
            deltas = [
                {"type": "input_json_delta", "partial_json": part} for part in ('{"q"', ': "x"}')
            ]
        told.append({"type": "content_block_start", "index": at, "content_block": empty})
        for delta in deltas:
            told.append({"type": "content_block_delta", "index": at, "delta": delta})
        told.append({"type": "content_block_stop", "index": at})
    told.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"]},
            "usage": {"output_tokens": usage["output_tokens"]},
        }
    )
    told.append({"type": "message_stop"})
    return told
