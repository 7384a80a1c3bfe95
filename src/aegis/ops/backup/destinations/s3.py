"""A store that speaks S3.

Small files are put at once, large ones in parts, and an upload that broke off goes on with the
parts that the store has and that are equal to ours. No answer of the store is taken for proof:
some acknowledge what they then do not have, so whoever copies reads everything back.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from aegis.errors import ConfigError, OpsError, Unavailable
from aegis.ops.backup.destinations.pace import called
from aegis.ops.backup.destinations.place import PIECE
from aegis.ops.backup.programs import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from urllib.parse import SplitResult

    from aegis.config import Settings

__all__ = ["S3", "open_s3"]

#: Up to here a file is put at once, beyond it in parts; bytes.
WHOLE = 64 << 20
PART = 16 << 20
#: Lists may have many pages: what is allowed for them, in bytes.
_LISTS = 8 << 20
#: More parts than this no store takes.
_PARTS = 10_000

_REFUSALS = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "AllAccessDisabled"}
)


@contextmanager
def open_s3(parts: SplitResult, settings: Settings) -> Generator[S3]:
    """Yield the store; see `open_destination`."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise ConfigError(
            "S3 needs the package `boto3`: install `aegis-core[backup]`.", code="extra_missing"
        ) from None
    client: Any = cast("Any", boto3).client(
        "s3",
        endpoint_url=settings.backup_s3_endpoint,
        region_name=settings.backup_s3_region or "us-east-1",
        aws_access_key_id=settings.backup_s3_access_key,
        aws_secret_access_key=settings.backup_s3_secret_key,
        config=Config(
            retries={"max_attempts": 5, "mode": "standard"},
            connect_timeout=10,
            read_timeout=30,
            s3={"addressing_style": "path" if settings.backup_s3_endpoint else "auto"},
            # Stores other than Amazon's refuse the newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    try:
        yield S3(client, parts.netloc, unquote(parts.path).strip("/"))
    finally:
        client.close()


class S3:
    """Copies below a prefix of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""

    @property
    def title(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def names(self) -> list[str]:
        """Return the names of the backups that have a manifest there."""
        end = "/manifest.json"
        keys = [key.removeprefix(self.prefix) for key in self._keys(self.prefix)]
        return sorted(k.removesuffix(end) for k in keys if k.endswith(end) and k.count("/") == 1)

    def size(self, name: str) -> int | None:
        """Return the size of an object; None where there is none."""
        with self._errors():
            try:
                found = called(lambda: self._client.head_object(**self._at(name)))
                return int(found["ContentLength"])
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise

    def put(self, source: Path, name: str, sent: Callable[[int], None]) -> None:
        """Store a file, going on where a broken upload ended."""
        size = source.stat().st_size
        with self._errors():
            if size <= WHOLE:
                called(lambda: self._put_whole(source, name), size)
                sent(size)
            else:
                self._put_parts(source, size, name, sent)

    def _put_whole(self, source: Path, name: str) -> None:
        with source.open("rb") as file:
            self._client.put_object(**self._at(name), Body=file)

    def _put_parts(self, source: Path, size: int, name: str, sent: Callable[[int], None]) -> None:
        length = max(PART, -(-size // _PARTS))
        upload, have = called(lambda: self._begun(name), _LISTS)
        if upload is None:
            made = called(lambda: self._client.create_multipart_upload(**self._at(name)))
            upload = str(made["UploadId"])
        done: list[dict[str, Any]] = []
        with source.open("rb") as file:
            number = 1
            while piece := file.read(length):
                digest = hashlib.md5(piece, usedforsecurity=False).hexdigest()
                tag = have.get(number)
                if tag is None or tag.strip('"') != digest:
                    tag = self._put_part(name, upload, number, piece)
                done.append({"PartNumber": number, "ETag": tag})
                sent(len(piece))
                number += 1
        # The store may put the parts together before it answers.
        called(
            lambda: self._client.complete_multipart_upload(
                **self._at(name), UploadId=upload, MultipartUpload={"Parts": done}
            ),
            size >> 4,
        )

    def _put_part(self, name: str, upload: str, number: int, piece: bytes) -> str:
        sent = called(
            lambda: self._client.upload_part(
                **self._at(name), UploadId=upload, PartNumber=number, Body=piece
            ),
            len(piece),
        )
        return str(sent["ETag"])

    def _begun(self, name: str) -> tuple[str | None, dict[int, str]]:
        """Return a broken upload of an object, and the parts of it that the store has."""
        key = self.prefix + name
        uploads = self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=key)
        found = [u["UploadId"] for u in uploads.get("Uploads", []) if u["Key"] == key]
        for extra in found[1:]:
            self._client.abort_multipart_upload(**self._at(name), UploadId=extra)
        if not found:
            return None, {}
        parts: dict[int, str] = {}
        pages = self._client.get_paginator("list_parts")
        for page in pages.paginate(**self._at(name), UploadId=found[0]):
            parts |= {p["PartNumber"]: p["ETag"] for p in page.get("Parts", [])}
        return found[0], parts

    def read(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield an object's contents from `offset` on."""
        with self._errors():
            ranged = {"Range": f"bytes={offset}-"} if offset else {}
            body = called(lambda: self._client.get_object(**self._at(name), **ranged))["Body"]
            try:
                while piece := called(lambda: body.read(PIECE), PIECE):
                    yield piece
            except (TimeoutError, Stopped):
                # Closing would wait for who still reads from it.
                raise
            except BaseException:
                body.close()
                raise
            body.close()

    def forget(self, name: str) -> None:
        """Remove an object, and the parts of broken uploads of it."""
        with self._errors():
            called(lambda: self._forget(name), _LISTS)

    def _forget(self, name: str) -> None:
        self._client.delete_object(**self._at(name))
        while (upload := self._begun(name)[0]) is not None:
            self._client.abort_multipart_upload(**self._at(name), UploadId=upload)

    def files(self, backup: str) -> list[str]:
        """Return the names of everything that a backup has there, unfinished uploads too."""
        begin = f"{self.prefix}{backup}/"
        found = set(self._keys(begin))
        with self._errors():
            uploads = called(
                lambda: self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=begin)
            )
            found |= {u["Key"] for u in uploads.get("Uploads", [])}
        return sorted(key.removeprefix(self.prefix) for key in found)

    def _keys(self, begin: str) -> list[str]:
        def pages() -> list[str]:
            paginator = self._client.get_paginator("list_objects_v2")
            return [
                item["Key"]
                for page in paginator.paginate(Bucket=self.bucket, Prefix=begin)
                for item in page.get("Contents", [])
            ]

        with self._errors():
            return called(pages, _LISTS)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    @contextmanager
    def _errors(self) -> Generator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except NoCredentialsError as error:
            raise ConfigError(
                "The store needs keys: set AEGIS_BACKUP_S3_ACCESS_KEY and "
                "AEGIS_BACKUP_S3_SECRET_KEY.",
                code="backup_destination_refused",
            ) from error
        except ClientError as error:
            said = cast("dict[str, Any]", error.response).get("Error", {})
            code = str(said.get("Code", ""))
            if code in _REFUSALS:
                raise ConfigError(
                    f"The store refuses us at {self.title}: {code}.",
                    code="backup_destination_refused",
                ) from error
            if code in ("NoSuchKey", "404", "NoSuchUpload"):
                raise OpsError(
                    f"The store says that {self.title} does not have it: {code}.",
                    code="upload_lost",
                ) from error
            if code == "NoSuchBucket":
                raise ConfigError(
                    f"There is no bucket {self.bucket}; make it first.",
                    code="backup_destination_refused",
                ) from error
            raise Unavailable(
                f"The store at {self.title} answered {code}: {said.get('Message', '')}",
                code="backup_destination_down",
            ) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(
                f"The store at {self.title} does not answer: {error}",
                code="backup_destination_down",
            ) from error
