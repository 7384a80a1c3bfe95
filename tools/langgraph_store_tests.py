"""LangGraph's own tests of stores, run on ours: what its packages carry, none of it kept here.

    python -m tools.langgraph_store_tests [--folder DIR] [pytest arguments]

The source archives of `langgraph-checkpoint` and `langgraph-checkpoint-postgres` carry tests, which
wheels do not. They are fetched by pip, unpacked, and run with `AegisStore` in the place of
`InMemoryStore`, `PostgresStore` and `AsyncPostgresStore` (`langgraph_store_plugin`), on a server of
their own. What is left out stands there with its reason. `--folder` has archives that are used in
place of fetched ones, or keeps those that are fetched.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Which tests of which package; the one for PostgreSQL in the version that benchmarks compare with.
FILES = {
    "langgraph-checkpoint": ["tests/test_store.py"],
    "langgraph-checkpoint-postgres": ["tests/test_store.py", "tests/test_async_store.py"],
}


def main() -> int:
    """Run them; the exit status is 0 where all that are not left out pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the archives are, or are to be kept")
    args, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        folder: Path = args.folder or Path(place) / "archives"
        folder.mkdir(parents=True, exist_ok=True)
        failed = [p for p in FILES if _run(_unpacked(p, folder, Path(place)), FILES[p], more)]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return int(bool(failed))


def _version(package: str) -> str:
    pins = (ROOT / "benchmarks/peers/requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in pins if "==" in line and not line.startswith("#"))
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return pinned[package]


def _unpacked(package: str, folder: Path, place: Path) -> Path:
    name = f"{package.replace('-', '_')}-{_version(package)}"
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        asked = f"{package}=={_version(package)}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--no-binary", ":all:", asked, "-d", str(folder)], check=True)
    with tarfile.open(archive) as file:
        file.extractall(place, filter="data")
    return place / name


def _run(unpacked: Path, files: list[str], more: list[str]) -> bool:
    """Return whether anything failed."""
    (unpacked / "pytest.ini").write_text("[pytest]\nanyio_mode = auto\ntimeout = 120\n")
    conftest = unpacked / "tests/conftest.py"
    if conftest.exists():
        # It empties the tables of another store before each test.
        conftest.write_text(conftest.read_text().replace("autouse=True", "autouse=False"))
    # What it is run on comes first, then the archive with its tests, then this checkout.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(unpacked)]),
        "AEGIS_STORE_TESTS_ROOT": str(ROOT),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "langgraph_store_plugin"]
    environment["PYTHONPATH"] += os.pathsep + str(ROOT / "tools")
    done = subprocess.run([*command, *files, *more], cwd=unpacked, env=environment, check=False)
    # 5: the arguments chose none of this package's.
    return done.returncode not in (0, 5)


if __name__ == "__main__":
    raise SystemExit(main())
