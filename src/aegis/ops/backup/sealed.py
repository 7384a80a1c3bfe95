"""Small files that say whether they are whole: a line of JSON, and a line with its SHA-256.

They are written to a temporary name, synced and renamed, so that a reader sees the old or the new
one. A single flipped bit, in either line, is an error and never a value.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import types
import typing
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from aegis.errors import OpsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["decode", "encode", "read_sealed", "seal", "sync", "unseal", "write_sealed"]

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return a dataclass as JSON's own types; times become ISO 8601."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(k): encode(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def decode(kind: type[T], value: Any) -> T:
    """Return the dataclass that `encode` was given; fields of later versions are left out.

    Raises:
        OpsError: `backup_damaged`, a field is missing or of another type.
    """
    try:
        return _decode(kind, value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpsError(
            f"A {kind.__name__} cannot be read: {error!r}. It was written by another version of "
            "Aegis, or is damaged.",
            code="backup_damaged",
        ) from error


def _decode(kind: Any, value: Any) -> Any:
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_decode(typing.get_args(kind)[0], item) for item in value)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise ValueError(value)
        return value
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        given = {
            f.name: _decode(hints[f.name], value[f.name])
            for f in dataclasses.fields(kind)
            if f.name in value
        }
        return typing.cast("Any", kind)(**given)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value


def seal(value: Any, key: bytes | None = None) -> bytes:
    """Return the text of a sealed file; with a key it also proves who wrote it."""
    body = json.dumps(encode(value), separators=(",", ":"), sort_keys=True).encode()
    lines = [body, b"sha256 " + hashlib.sha256(body).hexdigest().encode()]
    if key is not None:
        lines.append(b"hmac " + hmac.new(key, body, "sha256").hexdigest().encode())
    return b"\n".join(lines) + b"\n"


def unseal(text: bytes, what: str, key: bytes | None = None) -> Any:
    """Return the JSON value of a sealed text.

    Raises:
        OpsError: `backup_damaged`, it is not as it was written, or not written with `key`.
    """
    lines = text.split(b"\n")
    good = (
        len(lines) in (3, 4)
        and lines[-1] == b""
        and lines[1] == b"sha256 " + hashlib.sha256(lines[0]).hexdigest().encode()
    )
    if good and len(lines) == 4:
        # Without the key its form alone can be looked at; whoever has it, compares.
        said = lines[2]
        good = len(said) == 69 and said.startswith(b"hmac ")
    if good and key is not None:
        signed = b"hmac " + hmac.new(key, lines[0], "sha256").hexdigest().encode()
        good = len(lines) == 4 and hmac.compare_digest(lines[2], signed)
    if not good:
        raise OpsError(
            f"{what} is damaged: its contents do not have the checksum that it names.",
            code="backup_damaged",
        )
    return json.loads(lines[0])


def read_sealed(path: Path, key: bytes | None = None) -> Any:
    """Return the JSON value of a sealed file (`OpsError`: `backup_damaged`)."""
    return unseal(path.read_bytes(), str(path), key)


def write_sealed(path: Path, value: Any, key: bytes | None = None) -> None:
    """Replace `path` at once, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(seal(value, key))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Write a file or folder out to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
