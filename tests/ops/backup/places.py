"""Places to copy to, as real servers on loopback: SFTP, a store that speaks S3, a folder."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncssh
import boto3
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

__all__ = ["SshServer", "box", "disk", "s3_client", "store"]

_NUMBERS = itertools.count()


@pytest.fixture
def store() -> Iterator[dict[str, Any]]:
    """Settings for a store that speaks S3, on loopback, with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Its objects are the process's, not the server's: a bucket of the test's own.
    bucket = f"backups-{next(_NUMBERS)}"
    settings = {
        "backup_destination": f"s3://{bucket}/aegis",
        "backup_s3_endpoint": f"http://{host}:{port}",
        "backup_s3_access_key": "k",
        "backup_s3_secret_key": "s",
    }
    s3_client(settings).create_bucket(Bucket=bucket)
    try:
        yield settings
    finally:
        server.stop()


def s3_client(settings: dict[str, Any]) -> Any:
    """Return a client of the store, to look behind the scenes."""
    make: Any = boto3.client
    return make(
        "s3",
        endpoint_url=settings["backup_s3_endpoint"],
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )


@dataclass
class SshServer:
    """A real SFTP server on loopback, in a thread of its own."""

    folder: Path
    port: int = 0
    #: Cut the connection after so many bytes were written, once.
    cut_after: int | None = None
    written: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)


@contextmanager
def _ssh(folder: Path, host_key: Any, cut_after: int | None = None) -> Generator[SshServer]:
    own = SshServer(folder=folder, cut_after=cut_after)

    class Files(asyncssh.SFTPServer):
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=str(folder).encode())
            self._chan: Any = chan

        def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
            own.written += len(data)
            if own.cut_after is not None and own.written > own.cut_after:
                own.cut_after = None
                self._chan.get_connection().abort()
                raise asyncssh.SFTPConnectionLost("cut")
            return super().write(file_obj, offset, data)

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("box", "right")

    async def serve() -> Any:
        return await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[host_key], sftp_factory=Files
        )

    def run() -> None:
        asyncio.set_event_loop(own.loop)
        own.loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(serve(), own.loop).result(30)
    own.port = acceptor.get_port()
    try:
        yield own
    finally:
        acceptor.close()
        own.loop.call_soon_threadsafe(own.loop.stop)
        thread.join(10)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[tuple[SshServer, dict[str, Any]]]:
    """An SFTP server, and the settings that reach it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    folder = tmp_path / "box"
    folder.mkdir()
    with _ssh(folder, key) as server:
        known = tmp_path / "known_hosts"
        text = key.export_public_key().decode().strip()
        known.write_text(f"[127.0.0.1]:{server.port} {text}\n")
        yield (
            server,
            {
                "backup_destination": f"sftp://box@127.0.0.1:{server.port}/copies",
                "backup_sftp_known_hosts": known,
                "backup_sftp_password": "right",
            },
        )


def disk(place: Path) -> dict[str, Any]:
    """Return settings for a folder of its own."""
    (place / "disk").mkdir()
    return {"backup_destination": f"file://{place / 'disk'}"}
