"""What a document's model allows at a place: the keys, their meaning and the nearest name to a mistyped one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from upkeep.documents.node import Loc


def fields_at(model: type[BaseModel], loc: Loc) -> dict[str, FieldInfo]:
    """The keys that are allowed in the mapping at `loc`; empty where any key is."""
    annotations: list[object] = [model]
    for part in loc:
        annotations = [inner for annotation in annotations for inner in _inside(annotation, part)]
    return {
        name: field
        for annotation in annotations
        for plain in _alternatives(annotation)
        if isinstance(plain, type) and issubclass(plain, BaseModel)
        for name, field in plain.model_fields.items()
    }


def nearest(name: str, allowed: Sequence[str]) -> str:
    """The allowed name most like `name`; empty when none is."""
    wanted = name.lower().replace("-", "_")
    return next(iter(difflib.get_close_matches(wanted, allowed, n=1, cutoff=0.6)), "")


def _inside(annotation: object, part: str | int) -> Iterator[object]:
    for plain in _alternatives(annotation):
        origin, args = get_origin(plain), get_args(plain)
        if origin is dict:
            yield args[1]
        elif origin in {tuple, list}:
            yield args[0]
        elif isinstance(plain, type) and issubclass(plain, BaseModel) and part in plain.model_fields:
            yield plain.model_fields[str(part)].annotation


def _alternatives(annotation: object) -> Iterator[object]:
    """The annotation without `Annotated`, a union as its members."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _alternatives(member)
    else:
        yield annotation
