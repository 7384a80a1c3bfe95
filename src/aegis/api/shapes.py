"""What bodies and answers are made of: nothing that they do not know, nothing converted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Answer", "Body", "Shape"]


class Shape(BaseModel):
    """A document in JSON, in either direction."""

    model_config = ConfigDict(extra="forbid")

    def given(self) -> dict[str, Any]:
        """Return the fields that the caller named."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Answer(Shape):
    """An answer, as OpenAPI describes it: built when that is asked for, and only then."""

    model_config = ConfigDict(defer_build=True)


class Body(Shape):
    """A body: what it does not know is refused, and nothing is converted."""

    model_config = ConfigDict(strict=True)
