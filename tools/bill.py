"""The bill of materials: CycloneDX, of the core and of everything that extras add.

    python -m tools.bill [FOLDER]

writes `sbom-core.json` and `sbom-all.json` from what is installed, and nothing where that is not
what the locks say; packages of extras that are not installed are named. No network is asked. The
same environment makes the same bytes: no time, no random number, no path of this machine is in
them. What builds and tests Aegis is in neither.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools.installed import ROOT, closure, distributions, name_of, read_lock
from tools.licences import is_taken, licence_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["bills", "left_out", "main", "unlike_locks"]

#: Extras that nobody installs to use Aegis.
_NOT_SHIPPED: Final = {"build", "dev"}


def bills() -> dict[str, str]:
    """Return the text of each file by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core: list[str] = project["dependencies"]
    everything = _everything()
    installed = distributions()
    here = [r for r in _shipped(project) if _named(r) in installed]
    return {
        "sbom-core.json": _bill(everything, core, project["version"]),
        "sbom-all.json": _bill(everything, [*core, *here], project["version"]),
    }


def left_out() -> list[str]:
    """Return packages of extras that are not installed, and so in no bill, by name.

    `fastembed` and the like may be left out of the locks on purpose.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = distributions()
    return sorted({_named(r) for r in _shipped(project)} - set(installed))


def unlike_locks(text: str) -> list[str]:
    """Return components of a bill whose version is not the one of the locks."""
    locks = read_lock(ROOT / "requirements-dev.lock") | read_lock(ROOT / "requirements.lock")
    return [
        f"{c['name']} is {c['version']}, the locks say {locks.get(name_of(c['name']), 'nothing')}"
        for c in json.loads(text)["components"]
        if locks.get(name_of(c["name"])) != c["version"]
    ]


def _shipped(project: Mapping[str, Any]) -> list[str]:
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    return [r for name, needs in extras.items() if name not in _NOT_SHIPPED for r in needs]


def _named(requirement: str) -> str:
    return name_of(re.split(r"[<>=!~;\[ ]", requirement)[0])


def _everything() -> Any:
    """Return the bill of the whole environment, tools and all."""
    done = subprocess.run(
        [
            sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml",
            "--mc-type", "application", "--output-reproducible", "--sv", "1.6", "--of", "JSON",
            "--no-validate", sys.executable,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def _bill(everything: Any, requirements: Sequence[str], version: str) -> str:
    needs = closure(requirements, distributions())
    by_name = {name_of(c["name"]): c for c in everything["components"]}
    components = [_component(by_name[name]) for name in sorted(needs)]
    refs = {
        name: component["bom-ref"]
        for name, component in zip(sorted(needs), components, strict=True)
    }
    root = {
        **{k: v for k, v in everything["metadata"]["component"].items() if k != "properties"},
        "bom-ref": "aegis-core",
        "version": version,
    }
    direct = sorted({_named(r) for r in requirements})
    dependencies = [
        {"ref": "aegis-core", "dependsOn": sorted(refs[name] for name in direct)},
        *(
            {"ref": refs[name], "dependsOn": sorted(refs[n] for n in needs[name])}
            if needs[name]
            else {"ref": refs[name]}
            for name in sorted(needs)
        ),
    ]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {**_tools(everything), "component": root},
        "components": components,
        "dependencies": dependencies,
    }
    return json.dumps(bill, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _component(component: Any) -> Any:
    """Return a component named by package and version, without what is of this machine."""
    purl = f"pkg:pypi/{name_of(component['name'])}@{component['version']}"
    kept = {
        key: component[key]
        for key in ("type", "name", "version", "description", "licenses", "author")
        if key in component
    }
    references = [
        reference
        for reference in component.get("externalReferences", ())
        if reference["url"].startswith("https://")
    ]
    if references:
        kept["externalReferences"] = sorted(references, key=lambda r: (r["type"], r["url"]))
    spdx = licence_of(name_of(component["name"]), distributions()[name_of(component["name"])])
    if "licenses" not in kept and is_taken(spdx):
        kept["licenses"] = [{"expression": spdx}]
    return {**kept, "purl": purl, "bom-ref": purl}


def _tools(everything: Any) -> dict[str, Any]:
    tools = everything["metadata"].get("tools", {})
    named = [
        {"type": tool["type"], "name": tool["name"], "version": tool["version"]}
        for tool in tools.get("components", ())
    ]
    return {"tools": {"components": sorted(named, key=lambda tool: tool["name"])}}


def main(arguments: Sequence[str]) -> int:
    """Write the files; 1, and nothing written, where what is installed is not what is locked."""
    folder = Path(arguments[0]) if arguments else ROOT / "build"
    made = bills()
    wrong = unlike_locks(made["sbom-all.json"])
    for problem in wrong:
        print(f"✗ {problem}")
    if wrong:
        print("Nothing was written: `make install` brings what the locks say.")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / name).write_text(text)
        print(f"{folder / name}: {len(json.loads(text)['components'])} components")
    if absent := left_out():
        print(f"Not installed, and in no bill: {', '.join(absent)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
