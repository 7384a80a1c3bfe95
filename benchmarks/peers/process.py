"""One peer in a process of its own, spoken to in JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from aegis.config import ENV_PREFIX
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["PeerProcess", "started"]

#: Nothing is sent anywhere, nothing is downloaded: switches of the peers, and a proxy that is not
#: there for whoever does not look at them.
_QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "MEM0_TELEMETRY": "False",
    "OPENAI_API_KEY": "unused",
    "POSTHOG_DISABLED": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONNOUSERSITE": "1",
    **dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"),
        "http://127.0.0.1:9",
    ),
}
#: Seconds that a process which closed its output has to end.
_ENDING_S = 10
#: Prefixes of variables that would change what runs, and keys that no peer should see.
_DROPPED = (ENV_PREFIX, "PYTHON", "PG", "MEM0_", "CHROMA_", "LANGSMITH_", "LANGCHAIN_")


@dataclass(slots=True)
class PeerProcess:
    """A running adapter; after an error it is not asked again."""

    _process: subprocess.Popen[str]
    _errors: IO[str]
    _patience_s: float

    def call(self, call: str, **arguments: Any) -> dict[str, Any]:
        """Ask and return the answer.

        Raises:
            OpsError: the peer raised an error, ended, or did not answer in time.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        # Killing it ends the wait for its line.
        late = threading.Timer(self._patience_s, self._process.kill)
        late.start()
        try:
            stdin.write(json.dumps({"call": call, **arguments}) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        if not line:
            raise OpsError(f"{call}: {self._ending()}")
        answer = json.loads(line)
        if "error" in answer:
            raise OpsError(f"{call}: {' '.join(str(answer['error']).split())}")
        return answer

    def _ending(self) -> str:
        try:
            status = self._process.wait(timeout=_ENDING_S)
        except subprocess.TimeoutExpired:
            return "it closed its output and went on"
        if status == -9:
            return f"no answer within {self._patience_s:g} s, or killed"
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
        return f"it ended with status {status}: {last}"


@contextmanager
def started(
    python: Path, adapter: Path, home: Path, *, patience_s: float = 900
) -> Generator[PeerProcess]:
    """Start an adapter with `home` as its home and working folder, and end it at the end.

    Raises:
        OpsError: there is no such Python, or it cannot be run.
    """
    env = {k: v for k, v in os.environ.items() if not _withheld(k)}
    env |= _QUIET | {"HOME": str(home), "MEM0_DIR": str(home / "mem0"), "TMPDIR": str(home)}
    with tempfile.TemporaryFile("w+", dir=home) as errors:
        try:
            process = subprocess.Popen(
                [str(python), str(adapter)],
                env=env, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, encoding="utf-8", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise OpsError(f"{python} does not start: {error}.") from None
        try:
            yield PeerProcess(process, errors, patience_s)
        finally:
            process.kill()
            # What it was not sent any more is of no use to anybody.
            with suppress(OSError):
                process.communicate()


def _withheld(name: str) -> bool:
    return name.startswith(_DROPPED) or name.upper().endswith(
        ("_KEY", "_TOKEN", "_SECRET", "_PROXY")
    )
