"""Figures as metrics files hold them: typed, frozen, and read back with a clear error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from redistill.console.exceptions import RefusedError
from redistill.records.json_file import read_json


class Figures(BaseModel):
    """What all figures share: no change after they are made; unknown fields of a file are left."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON holds them."""
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, file: Path) -> Self:
        """
        Read the figures in *file*.

        Raises RefusedError that names the field where *file* lacks one or has another type there.
        """
        return cls.held(read_json(file), str(file))

    @classmethod
    def held(cls, content: Mapping[str, Any], where: str) -> Self:
        """Hold *content*, which stands at *where*, to the figures; raises as `read` does."""
        try:
            return cls.model_validate(content)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise RefusedError(
                f"{where}: {field}: {first['msg']}; made by another version? run dvc repro"
            ) from problem
