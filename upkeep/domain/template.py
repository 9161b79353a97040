"""Placeholders in profiles: `{{ root }}/etc/mcp` becomes a path of one host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")

Model = TypeVar("Model", bound=BaseModel)


class MissingVariable(KeyError):
    """A placeholder names a variable that the host does not have."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        super().__init__(name)


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every placeholder replaced once; what is put in is not read again.

    Raises:
        MissingVariable: a placeholder has no value.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise MissingVariable(match[1], text)
        return variables[match[1]]

    return _PLACEHOLDER.sub(value, text)


def fill_model(model: Model, variables: Mapping[str, str]) -> Model:
    """The same model with the placeholders in all its texts replaced, validated again."""
    return type(model).model_validate(_fill_any(model.model_dump(mode="json"), variables))


def _fill_any(value: object, variables: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return fill(value, variables)
    if isinstance(value, list):
        return [_fill_any(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: _fill_any(item, variables) for key, item in value.items()}
    return value
