"""The base of what a build states, as types."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Values that never change. A key that does not apply may be absent from the JSON, and unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON-able ones, under the names that the schema has."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
