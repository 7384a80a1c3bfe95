"""A server over SFTP. Its host key has to be known: a server that nobody vouches for is refused.

Everything runs in an event loop of its own, in the thread of whoever copies.
"""

from __future__ import annotations

import asyncio
import posixpath
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.ops.backup.destinations.pace import awaited
from aegis.ops.backup.destinations.place import PIECE
from aegis.ops.backup.programs import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator
    from urllib.parse import SplitResult

    from aegis.config import Settings

__all__ = ["Sftp", "open_sftp"]

T = TypeVar("T")

_CONNECT_S = 30.0
#: Seconds that a server has to say goodbye.
_CLOSE_S = 5.0
#: A server that is silent for so long is gone.
_KEEPALIVE_S = 15.0


@contextmanager
def open_sftp(parts: SplitResult, settings: Settings) -> Generator[Sftp]:
    """Yield the server, connected; see `open_destination`."""
    try:
        import asyncssh
    except ImportError:
        raise ConfigError(
            "SFTP needs the package `asyncssh`: install `aegis-core[backup]`.",
            code="extra_missing",
        ) from None
    with asyncio.Runner() as runner:
        place = Sftp(asyncssh, runner, parts, settings)
        place.connect()
        try:
            yield place
        finally:
            place.close()


class Sftp:
    """Copies below a folder of a server."""

    def __init__(
        self, asyncssh: Any, runner: asyncio.Runner, parts: SplitResult, settings: Settings
    ) -> None:
        self._ssh = asyncssh
        self._runner = runner
        self._host = parts.hostname or ""
        self._port = parts.port or 22
        self._user = unquote(parts.username or "") or None
        self._settings = settings
        # A path with one slash begins at the account's own folder, with two at the root.
        path = unquote(parts.path)
        self.root = path[1:] if path.startswith("//") else path.lstrip("/") or "."
        self._connection: Any = None
        self._client: Any = None
        #: How the line broke; whoever tries again is told that, not that it is broken.
        self._broken: Unavailable | None = None

    @property
    def title(self) -> str:
        """Its address, without secrets."""
        user = f"{self._user}@" if self._user else ""
        return f"sftp://{user}{self._host}:{self._port}/{self.root}"

    def connect(self) -> None:
        """Connect, the host key checked (`ConfigError`, `Unavailable`)."""
        self._run(self._connect())

    async def _connect(self) -> None:
        settings = self._settings
        known = settings.backup_sftp_known_hosts or Path.home() / ".ssh" / "known_hosts"
        if not known.is_file():
            raise ConfigError(
                f"There is no file of known hosts {known}, so nobody vouches for {self._host}. Set "
                "AEGIS_BACKUP_SFTP_KNOWN_HOSTS.",
                code="backup_host_unknown",
            )
        options: dict[str, Any] = {}
        if settings.backup_sftp_key is not None:
            options |= {"client_keys": [str(settings.backup_sftp_key)], "agent_path": None}
        if settings.backup_sftp_password is not None:
            options["password"] = settings.backup_sftp_password
        self._connection = await self._ssh.connect(
            self._host, self._port, username=self._user, known_hosts=str(known), config=None,
            connect_timeout=_CONNECT_S, keepalive_interval=_KEEPALIVE_S, **options,
        )  # fmt: skip
        self._client = await self._connection.start_sftp_client()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._runner.run(self._goodbye())

    async def _goodbye(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._connection.wait_closed()
        except (self._ssh.Error, OSError, TimeoutError):
            self._connection.abort()

    def names(self) -> list[str]:
        """Return the names of the backups that have a manifest there."""
        return self._run(self._names())

    async def _names(self) -> list[str]:
        found: list[str] = []
        with suppress(self._ssh.SFTPNoSuchFile):
            for name in await self._client.listdir(self.root):
                path = posixpath.join(self.root, name, "manifest.json")
                if not name.startswith(".") and await self._client.exists(path):
                    found.append(str(name))
        return sorted(found)

    def size(self, name: str) -> int | None:
        """Return the size of a finished file; None where there is none."""
        return self._run(self._size(self._path(name)))

    async def _size(self, path: str) -> int | None:
        with suppress(self._ssh.SFTPNoSuchFile):
            return int((await self._client.stat(path)).size)
        return None

    def put(self, source: Path, name: str, sent: Callable[[int], None]) -> None:
        """Store a file, going on where a broken upload ended."""
        self._run(self._put(source, source.stat().st_size, self._path(name), sent), None)

    async def _put(self, source: Path, size: int, target: str, sent: Callable[[int], None]) -> None:
        client, part = self._client, target + ".part"
        await client.makedirs(posixpath.dirname(target), exist_ok=True)
        begun = await self._size(part) or 0
        if begun > size:
            await client.remove(part)
            begun = 0
        with source.open("rb") as reader:
            reader.seek(begun)
            sent(begun)
            async with client.open(part, "ab" if begun else "wb") as writer:
                while piece := reader.read(PIECE):
                    await self._move(writer.write(piece), len(piece))
                    sent(len(piece))
                with suppress(self._ssh.SFTPError):  # Not every server knows how.
                    await self._move(writer.fsync(), size)
        # Plain renaming refuses a name that is taken, by a copy that was found bad.
        with suppress(self._ssh.SFTPNoSuchFile):
            await client.remove(target)
        await client.rename(part, target)

    async def _move(self, work: Coroutine[Any, Any, Any], size: int) -> None:
        """Wait for a step of an upload; the file that is open would wait to be closed."""
        try:
            await awaited(work, size)
        except (Stopped, TimeoutError):
            self._connection.abort()
            raise

    def read(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield a file's contents from `offset` on."""
        file: Any = self._run(self._open(self._path(name)))
        try:
            while piece := self._run(file.read(PIECE, offset), PIECE):
                offset += len(piece)
                yield piece
        finally:
            with suppress(AegisError):
                self._run(file.close())

    async def _open(self, path: str) -> Any:
        return await self._client.open(path, "rb")

    def forget(self, name: str) -> None:
        """Remove a file, and what is left of broken uploads of it."""
        self._run(self._forget(self._path(name)))

    async def _forget(self, path: str) -> None:
        for each in (path, path + ".part"):
            with suppress(self._ssh.SFTPNoSuchFile):
                await self._client.remove(each)
        folder = posixpath.dirname(path)
        with suppress(self._ssh.SFTPError):  # It has more in it.
            while len(folder) > len(self.root):
                await self._client.rmdir(folder)
                folder = posixpath.dirname(folder)

    def files(self, backup: str) -> list[str]:
        """Return the names of everything that a backup has there."""
        return self._run(self._files(backup))

    async def _files(self, backup: str) -> list[str]:
        found: list[str] = []
        folders = [backup]
        while folders:
            folder = folders.pop()
            with suppress(self._ssh.SFTPNoSuchFile):
                for entry in await self._client.readdir(self._path(folder)):
                    if entry.filename in (".", ".."):
                        continue
                    name = f"{folder}/{entry.filename}"
                    if await self._client.isdir(self._path(name)):
                        folders.append(name)
                    else:
                        found.append(name)
        return sorted(found)

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name)

    def _run(self, work: Coroutine[Any, Any, T], size: int | None = 0) -> T:
        """Do it within the limit for what it moves; None where it looks to its limits itself."""
        ssh = self._ssh
        if self._broken is not None:
            work.close()
            raise self._broken
        try:
            return self._runner.run(work if size is None else awaited(work, size))
        except (Stopped, TimeoutError) as error:
            # Nobody knows what of it is still under way.
            if self._connection is not None:
                self._connection.abort()
            if isinstance(error, Stopped):
                raise
            self._broken = self._down(error)
            raise self._broken from error
        except ssh.HostKeyNotVerifiable as error:
            raise ConfigError(
                f"The host key of {self._host} is not the one that is known, or none is known: "
                f"{error.reason}. Nothing was sent. Compare the key by another way before you add "
                "it to the known hosts.",
                code="backup_host_unknown",
            ) from error
        except ssh.PermissionDenied as error:
            raise ConfigError(
                f"{self._host} refuses {self._user or 'us'}: {error.reason}. Set "
                "AEGIS_BACKUP_SFTP_KEY or AEGIS_BACKUP_SFTP_PASSWORD.",
                code="backup_destination_refused",
            ) from error
        except ssh.SFTPPermissionDenied as error:
            raise ConfigError(
                f"{self._host} lets us not write or read there: {error.reason}.",
                code="backup_destination_refused",
            ) from error
        except (ssh.ConnectionLost, ssh.SFTPConnectionLost) as error:
            self._broken = self._down(error)
            raise self._broken from error
        except (ssh.Error, OSError) as error:
            raise self._down(error) from error

    def _down(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"{self._host}:{self._port} broke off or does not answer: {error}. Run it again; "
            "it goes on where it was.",
            code="backup_destination_down",
        )
