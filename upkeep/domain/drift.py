"""What differs between a document as it was frozen and as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ABSENT = "(absent)"


def difference(before: Mapping[str, Any], after: Mapping[str, Any], *, most: int = 8) -> list[str]:
    """What differs between two documents, leaf by leaf: `soak.canary: 600.0 → 1.0`."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changed = [key for key in sorted({*old, *new}) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    lines = [f"{key}: {old.get(key, _ABSENT)} → {new.get(key, _ABSENT)}" for key in changed[:most]]
    return lines + ([f"and {len(changed) - most} more"] if len(changed) > most else [])


def _leaves(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:  # noqa: ANN401 - JSON
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = ((item.get("name", n) if isinstance(item, Mapping) else n, item) for n, item in enumerate(value))
    else:
        yield key, value
        return
    for name, item in items:
        yield from _leaves(item, f"{key}.{name}" if key else str(name))
