"""`aegis hook EVENT`: what Claude Code runs on every event; a process of its own each time.

Invariant: it ends with status 0, soon, whatever happens. What it was told is in the spool before
anything else; only a question (`payload.ANSWERED`) is put to the process that serves, and only
for so long. Imports are most of what a hook costs: nothing here imports click, a driver or
`http.client`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from aegis.config import load_data_dir, load_settings, spool_folder
from aegis.errors import AegisError
from aegis.sessions.payload import ANSWERED, Unreadable, reduce_payload
from aegis.sessions.spool import append

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.wire.presence import Presence

__all__ = ["run"]

#: Seconds to wait for the input, and for the answer.
_INPUT_S, _ANSWER_S = 2.0, 1.5
_PATH = "/v1/sessions/hook"
#: A tool's result can be large; what is beyond this is not looked at.
_MAX_INPUT = 64 * 2**20
_MAX_ANSWER = 4 * 2**20
#: After these there is time to write what has piled up while nobody serves.
_PAUSES = ("SessionStart", "Stop", "SessionEnd")


def run(event: str | None) -> int:
    """Deal with one event from standard input; 0, always."""
    try:
        _deal_with(event)
    except Exception as error:  # noqa: BLE001 (an agent must never be stopped by its memory)
        _complain(f"{type(error).__name__}: {error}")
    return 0


def _deal_with(event: str | None) -> None:
    raw = _read_input()
    try:
        settings, data_dir = _settings()
        record = reduce_payload(
            raw,
            event,
            key=os.urandom(16).hex(),
            at=time.time(),
            namespace=settings.namespace if settings else "default",
            user=_user(),
        )
    except Unreadable as error:
        _complain(str(error))
        return
    folder = spool_folder(data_dir, settings.database_url if settings else None)
    kept = _keep(folder, record)
    if settings is None:
        return
    asks = record["event"] in ANSWERED and settings.hook_budget_tokens > 0
    if asks or not kept:
        answer = _ask(settings, record, spooled=kept)
        if answer is not None:
            if asks:
                _answer(record["event"], answer)
            return
    if record["event"] in _PAUSES:
        _drain_beside(settings)


def _settings() -> tuple[Settings | None, Path]:
    try:
        settings = load_settings()
    except AegisError as error:
        # What happens now is kept; whoever mends the setting finds it.
        _complain(error.message)
        return None, load_data_dir()
    return settings, settings.data_dir


def _read_input() -> bytes:
    """Read to the end of the input, but not for ever: a pipe may be left open."""
    until = time.monotonic() + _INPUT_S
    parts: list[bytes] = []
    size = 0
    while size < _MAX_INPUT:
        left = until - time.monotonic()
        if left <= 0 or not select.select([0], [], [], left)[0]:
            break
        part = os.read(0, 2**20)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _user() -> str | None:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name[:100]
    except KeyError:
        return None


def _keep(folder: Path, record: dict[str, Any]) -> bool:
    try:
        append(folder, record)
    except OSError as error:
        _complain(f"The spool {folder} cannot be written: {error}")
        return False
    return True


def _ask(settings: Settings, record: dict[str, Any], *, spooled: bool) -> dict[str, Any] | None:
    """Put the event to the process that serves this very database; None where none answers."""
    from aegis.wire.presence import find_presence, fingerprint
    from aegis.wire.token import find_token

    presence = find_presence(settings.data_dir)
    token = find_token(settings.data_dir) if presence is not None else None
    if presence is None or token is None or presence.serves != fingerprint(settings, token):
        return None
    body = json.dumps(record).encode()
    try:
        return _post(presence, _PATH + ("?spooled=true" if spooled else ""), token, body)
    except (OSError, ValueError):
        return {}


def _post(presence: Presence, path: str, token: str, body: bytes) -> dict[str, Any]:
    import socket

    from aegis.wire.presence import trusting

    address = presence.url.partition("://")[2]
    host, _, port = address.rpartition(":")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    until = time.monotonic() + _ANSWER_S
    received = bytearray()
    context = trusting(presence)
    with ExitStack() as stack:
        sock = stack.enter_context(
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S)
        )
        if context is not None:
            sock = stack.enter_context(context.wrap_socket(sock))
        sock.sendall(head.encode() + body)
        while len(received) < _MAX_ANSWER:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            part = sock.recv(2**16)
            if not part:
                break
            received += part
    head_in, _, answer = bytes(received).partition(b"\r\n\r\n")
    if head_in.split(b" ", 2)[1:2] != [b"200"]:
        return {}
    found: Any = json.loads(answer)
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _answer(event: str, answer: dict[str, Any]) -> None:
    context = answer.get("context")
    if not isinstance(context, str) or not context:
        return
    told = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _drain_beside(settings: Settings) -> None:
    """Start a process that writes the spool, where there is a database and nobody serves it."""
    from aegis.wire.presence import find_presence

    if find_presence(settings.data_dir) is not None:
        return
    running = any((settings.data_dir / "postgres").glob("*/postmaster.pid"))
    if settings.database_url is None and not running:
        return
    command = [sys.executable, "-m", "aegis.cli", "sessions", "sweep", "--json"]
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    # A session of its own: the agent ends its hooks with everything in their process group.
    os.posix_spawn(sys.executable, command, _environment(), file_actions=nowhere, setsid=True)


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _complain(text: str) -> None:
    # Whoever would read it may be gone.
    with suppress(OSError, ValueError):
        print(f"aegis hook: {' '.join(text.split())[:500]}", file=sys.stderr)  # noqa: T201
