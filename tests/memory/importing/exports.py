"""Exports of other programs as they look on disk, in small."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "chatgpt_conversation",
    "chatgpt_message",
    "claude_conversation",
    "claude_message",
    "write_json",
    "write_zip",
]


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_zip(path: Path, **members: Any) -> Path:
    """Write a zip; `conversations_json=…` is the member `conversations.json`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            text = content if isinstance(content, bytes | str) else json.dumps(content)
            archive.writestr(name.replace("_json", ".json"), text)
    return path


def chatgpt_message(
    role: str, *parts: Any, at: float | None = 1_750_000_000.5, kind: str = "text", **changes: Any
) -> dict[str, Any]:
    return {
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": at,
        "update_time": None,
        "content": {"content_type": kind, "parts": list(parts)},
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **changes,
    }


def chatgpt_conversation(name: str, *messages: Any, **changes: Any) -> dict[str, Any]:
    """A conversation of one branch: a root without a message, then one node a message."""
    ids = [f"{name}-root", *(f"{name}-{i}" for i in range(1, len(messages) + 1))]
    mapping = {
        node: {
            "id": node,
            "message": None if i == 0 else {"id": node, **messages[i - 1]},
            "parent": None if i == 0 else ids[i - 1],
            "children": ids[i + 1 : i + 2],
        }
        for i, node in enumerate(ids)
    }
    return {
        "title": f"About {name}",
        "create_time": 1_749_999_999.25,
        "update_time": 1_750_000_100.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": ids[-1],
        "conversation_id": name,
        "id": name,
        **changes,
    }


def claude_message(name: str, sender: str, text: str, **changes: Any) -> dict[str, Any]:
    return {
        "uuid": name,
        "text": text,
        "content": [{"type": "text", "text": text, "citations": []}],
        "sender": sender,
        "created_at": "2026-05-01T09:00:00.123456Z",
        "updated_at": "2026-05-01T09:00:00.123456Z",
        "attachments": [],
        "files": [],
        **changes,
    }


def claude_conversation(name: str, *messages: Any, **changes: Any) -> dict[str, Any]:
    return {
        "uuid": name,
        "name": f"About {name}",
        "created_at": "2026-05-01T08:59:59.000000Z",
        "updated_at": "2026-05-01T09:10:00.000000Z",
        "account": {"uuid": "a-1"},
        "chat_messages": list(messages),
        **changes,
    }
