"""What a plain `pip install` can do: nothing of the extras is there, and everything else works.

    python -m tools.plain_install [--keep DIR]

A virtual environment is made from requirements.lock and this checkout, with pip and the index that
the environment names. Then Aegis is used from it as people do: an embedded server, HTTP, MCP, a
worker. Each extra's command has to name its extra in one line. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Packages of extras, none of which a plain installation has.
EXTRAS = (
    *("apprise", "asyncssh", "boto3", "playwright", "protego", "selectolax", "trafilatura"),
    *("fastembed", "graphiti_core", "langchain_core", "langgraph", "pyarrow", "stripe"),
)
#: Extra, command, settings: what has to say that the extra is missing.
COMMANDS: tuple[tuple[str, list[str], dict[str, str]], ...] = (
    ("alerts", ["alerts", "test", "team"], {"ALERT_CHANNELS": "team=json://127.0.0.1:9/"}),
    ("backup", ["backup", "push"], {"BACKUP_DESTINATION": "sftp://nobody@127.0.0.1:9/x"}),
    ("backup", ["backup", "push"], {"BACKUP_DESTINATION": "s3://bucket/x"}),
    (
        "graphiti",
        ["memory", "sync", "graphiti"],
        {"GRAPHITI_URL": "kuzu:graph", "LLM_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "m"},
    ),
    ("intel", ["intel", "add", "127.0.0.1"], {"OUTBOUND_ALLOW": "127.0.0.0/8"}),
    ("parquet", ["memory", "export", "memory.parquet"], {}),
    ("stripe", ["billing", "stripe", "sync"], {"STRIPE_API_KEY": "sk_test_none"}),
)
#: Extra and the module that cannot be imported without it.
MODULES = (("langchain", "aegis.langchain"), ("langgraph", "aegis.langgraph"))
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "plain", "version": "1"},
    },
}


class Plain:
    """Aegis in an environment of its own, used in a folder of its own."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin = environment / "bin"
        self.folder = folder
        self.said: list[str] = []

    def settings(self, **given: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AEGIS_", "PYTHON"))}
        named = {f"AEGIS_{name}": value for name, value in given.items()}
        return {**kept, "AEGIS_DATA_DIR": str(self.folder / "data"), **named}

    def run(self, *arguments: str, status: int | None = 0, **settings: str) -> str:
        """Run a command of Aegis and return what it printed."""
        return self.call([str(self.bin / "aegis"), *arguments], status, **settings)

    def call(self, command: list[str], status: int | None = 0, **settings: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.settings(**settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        self.said.append(f"$ {' '.join(command)}\n{said}")
        if status is not None:
            expect(done.returncode == status, f"{command[1:]} ended with {done.returncode}: {said}")
        return said

    def start(self, *arguments: str, until: str) -> subprocess.Popen[str]:
        """Start a command that goes on, and return it once it printed `until`."""
        log = (self.folder / f"{arguments[0]}.log").open("w")
        process = subprocess.Popen(
            [str(self.bin / "aegis"), *arguments],
            cwd=self.folder,
            env=self.settings(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
        for _ in range(600):
            if until in Path(log.name).read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        text = Path(log.name).read_text()
        if until not in text:
            process.kill()
            raise SystemExit(f"`aegis {arguments[0]}` did not start: {text}")
        return process

    def stop(self, process: subprocess.Popen[str], name: str) -> None:
        """Stop it as Ctrl-C does; it has to end well."""
        process.send_signal(signal.SIGINT)
        ended = process.wait(timeout=60)
        text = (self.folder / f"{name}.log").read_text()
        self.said.append(f"$ aegis {name}\n{text}")
        expect(ended == 0, f"`aegis {name}` ended with {ended}: {text}")


def expect(fulfilled: bool, what: str) -> None:
    """End with `what` unless it is `fulfilled`."""
    if not fulfilled:
        raise SystemExit(what)


def make(environment: Path) -> None:
    """Install this checkout and what requirements.lock names, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", str(ROOT)], check=True)


def check(plain: Plain) -> None:
    """Use it."""
    python = str(plain.bin / "python")
    found = plain.call(
        [python, "-c", "import sys, importlib.util as u; "
         "print([n for n in sys.argv[1:] if u.find_spec(n)])", *EXTRAS]
    )  # fmt: skip
    expect(found.strip() == "[]", f"A plain installation has packages of extras: {found}")
    where = plain.call([python, "-c", "import aegis; print(aegis.__file__)"]).strip()
    expect(str(ROOT / "src") not in where, f"Aegis is imported from the checkout: {where}")
    expect(bool(re.fullmatch(r"aegis \d+\.\d+.*\n", plain.run("--version"))), "no version")
    serving = plain.start("up", "--port", "0", until="Ctrl-C stops.")
    try:
        _ask_http(plain)
        _ask_mcp(plain)
        _ask_commands(plain)
        worker = plain.start("worker", until="works. Ctrl-C stops.")
        kinds = plain.run("worker", "list", "--json")
        expect('"kinds"' in kinds, f"no worker says what it runs: {kinds}")
        plain.stop(worker, "worker")
    finally:
        plain.stop(serving, "up")
    for said in plain.said:
        expect("Traceback" not in said, said)


def _ask_http(plain: Plain) -> None:
    url = json.loads((plain.folder / "data" / "serve.json").read_text())["url"]
    token = (plain.folder / "data" / "operator-token").read_text().strip()

    def ask(path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            url + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    ask("/v1/memory/episodes", {"event_type": "note", "summary": "The heron stands in the reeds."})
    (first, *_) = ask("/v1/memory/recall", {"query": "where is the bird?"})["results"]
    expect("heron" in first["episode"]["summary"], f"recall answers {first}")


def _ask_mcp(plain: Plain) -> None:
    lines = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    with subprocess.Popen(
        [str(plain.bin / "aegis"), "mcp"],
        cwd=plain.folder,
        env=plain.settings(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        answer: dict[str, Any] = {}
        for line in lines:
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            if line.get("id"):
                answer = json.loads(process.stdout.readline())
                expect("result" in answer, f"MCP answers {answer}")
        names = {tool["name"] for tool in answer["result"]["tools"]}
        _, said = process.communicate(timeout=60)
    plain.said.append(f"$ aegis mcp\n{said}")
    expect(len(names) > 10, f"MCP offers {sorted(names)}")


def _ask_commands(plain: Plain) -> None:
    doctor = plain.run("doctor", "--json", status=None)
    expect(bool(json.loads(doctor)["results"]), f"`aegis doctor` says {doctor}")
    plain.run("backup", "create")
    for extra, command, settings in COMMANDS:
        said = plain.run(*command, status=None, **settings)
        named = [text for text in said.splitlines() if f"aegis-core[{extra}]" in text]
        expect(len(named) == 1, f"{command} does not name its extra {extra} in one line: {said}")
    for extra, module in MODULES:
        said = plain.call(
            [str(plain.bin / "python"), "-c", "import importlib, sys\n"
             "try: importlib.import_module(sys.argv[1])\n"
             "except Exception as error: print(error)", module]
        )  # fmt: skip
        expect(f"aegis-core[{extra}]" in said and said.count("\n") == 1, said)


def main() -> None:
    """Make it, use it, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="environment to make, or to use if it is there")
    keep: Path | None = parser.parse_args().keep
    began = time.monotonic()
    # Where the embedded server's account may enter, too: it never runs as root.
    folder = Path(tempfile.mkdtemp(prefix="aegis-plain-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        environment = keep or folder / "environment"
        if not (environment / "bin" / "aegis").exists():
            make(environment)
        made = time.monotonic()
        check(Plain(environment, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ended = time.monotonic()
    print(f"A plain installation works: made in {made - began:.0f} s, used {ended - made:.0f} s.")


if __name__ == "__main__":
    main()
