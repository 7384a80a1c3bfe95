"""Known vulnerabilities of versions, by `pip-audit`, and whether anybody could look at all."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CANARY", "OSV", "Audit", "audit"]

OSV: Final = "https://api.osv.dev/v1/query"
#: A version that every service knows to be vulnerable (CVE-2019-10906).
CANARY: Final = ("jinja2", "2.10")
_TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What became of it."""

    state: Literal["none known", "found", "could not check"]
    text: str


def audit(versions: Mapping[str, str], *, osv_url: str = OSV) -> Audit:
    """Return what the service knows of these versions, name to version."""
    try:
        # Asked in a call of its own: ours may have the package, too.
        canary = _ask(dict([CANARY]), osv_url)
        if not any(package.get("vulns") for package in canary):
            return _could_not(f"it knows nothing of {CANARY[0]} {CANARY[1]}, which is vulnerable")
        answered = _ask(versions, osv_url)
    except _NoAnswerError as error:
        return _could_not(str(error))
    skipped = sorted(p["name"] for p in answered if "vulns" not in p)
    missing = sorted(set(versions) - {p["name"].lower().replace("_", "-") for p in answered})
    found = [
        f"✗ {p['name']} {p['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or '-'}"
        for p in answered
        for v in p.get("vulns", ())
    ]
    if found:
        return Audit(state="found", text="\n".join(found))
    if skipped or missing:
        names = ", ".join([*skipped, *missing][:10])
        return _could_not(f"it left out {len(skipped) + len(missing)} package(s): {names}")
    return Audit(state="none known", text=f"No known vulnerability in {len(versions)} packages.")


class _NoAnswerError(Exception):
    """The service did not answer."""


def _could_not(why: str) -> Audit:
    return Audit(state="could not check", text=f"? Vulnerabilities: could not check: {why}.")


def _ask(versions: Mapping[str, str], osv_url: str) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("".join(f"{n}=={v}\n" for n, v in sorted(versions.items())))
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", wanted, "--no-deps",
            "--disable-pip", "--format", "json", "--progress-spinner", "off",
            "--vulnerability-service", "osv", "--osv-url", osv_url, "--timeout", "10",
            "--cache-dir", folder,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise _NoAnswerError(f"no answer within {_TIMEOUT_S} s") from None
    try:
        # 1 where something was found; without an answer there is no document.
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _NoAnswerError(lines[-1][:300] if lines else "pip-audit said nothing") from None
