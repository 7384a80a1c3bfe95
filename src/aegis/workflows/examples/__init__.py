"""Ready workflows that come with Aegis: `aegis workflow save --example NAME`."""

from __future__ import annotations

from importlib import resources

from aegis.errors import NotFound

__all__ = ["example", "examples"]


def examples() -> list[str]:
    """Return the names of the examples."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def example(name: str) -> str:
    """Return an example as YAML (`NotFound`)."""
    if name not in examples():
        raise NotFound(f"There is no example {name!r}; there are {', '.join(examples())}.")
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
