"""A document's values, each knowing the file and line it was written on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from upkeep.errors import BadInput, Place

Scalar = str | int | float | bool | None
Loc = tuple[str | int, ...]

TEXT_KEYS = frozenset({"labels", "vars"})
"""Under these keys numbers and booleans are text: `version: 1.10` stays 1.10 and `country: NO` stays NO."""


class Entry(NamedTuple):
    """A mapping's value and the line of its key."""

    line: int | None
    node: Node


@dataclass(slots=True)
class Node:
    """A mapping (`entries`), a list (`items`) or a scalar (`raw` as written, `value` as understood).

    `size` counts the nodes with all aliases written out, `height` the levels below this one.
    """

    file: str
    line: int | None
    entries: dict[str, Entry] | None = None
    items: list[Node] | None = None
    raw: str = ""
    value: Scalar = None
    doubt: str = ""
    size: int = 1
    height: int = 0

    @property
    def is_scalar(self) -> bool:
        """Whether this is neither a mapping nor a list."""
        return self.entries is None and self.items is None

    def child(self, part: str | int) -> Entry | None:
        """The value under a key or at a position; None when there is none."""
        if self.entries is not None:
            return self.entries.get(str(part))
        if self.items is not None and isinstance(part, int) and 0 <= part < len(self.items):
            return Entry(self.items[part].line, self.items[part])
        return None

    def describe(self) -> str:
        """The value and its kind, in words."""
        if self.entries is not None:
            return f"a mapping of {len(self.entries)} keys" if len(self.entries) != 1 else "a mapping of 1 key"
        if self.items is not None:
            return f"a list of {len(self.items)}"
        return "nothing" if self.value is None else f"{self.raw or repr('')} ({kind_of(self.value)})"


class Located(NamedTuple):
    """Where a pydantic location leads: the nearest node that is really in the document."""

    place: Place
    node: Node | None
    reached: Loc


def locate(root: Node, loc: Loc) -> Located:
    """Follow `loc` from `root` as far as the document goes; parts that pydantic made up (`[key]`, `int`) end the way.

    One entry may be written without its list: `[0]` of a mapping is the mapping.
    """
    node, line, file = root, root.line, root.file
    reached: Loc = ()
    for part in loc:
        entry = node.child(part)
        if entry is None and part == 0 and reached and node.entries is not None:
            continue
        if entry is None:
            break
        node, line, file = entry.node, entry.line, entry.node.file
        reached = (*reached, part)
    return Located(Place(file, line, dotted(reached)), node, reached)


def dotted(loc: Iterable[str | int]) -> str:
    """A location as people write it: `stages[1].pct`, `hosts."web.example.org".port`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = f'"{part}"' if "." in part else part
            text += f".{name}" if text else name
    return text


def kind_of(value: object) -> str:
    """What a plain value is, in words."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    names: dict[type, str] = {str: "text", list: "a list", dict: "a mapping", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def plain_data(node: Node) -> object:
    """The document as dicts, lists and scalars.

    Raises:
        BadInput: a scalar outside labels and vars can be read in two ways.
    """
    return _plain(node, (), texts=False)


def _plain(node: Node, loc: Loc, *, texts: bool) -> object:
    if node.entries is not None:
        return {
            key: entry.node.raw
            if texts and entry.node.is_scalar and entry.node.value is not None
            else _plain(entry.node, (*loc, key), texts=key in TEXT_KEYS)
            for key, entry in node.entries.items()
        }
    if node.items is not None:
        return [_plain(item, (*loc, position), texts=False) for position, item in enumerate(node.items)]
    if node.doubt:
        raise BadInput(
            node.doubt,
            place=Place(node.file, node.line, dotted(loc)),
            found=node.raw,
            remedy=f'write "{node.raw}" in quotes if it is text or a file mode',
        )
    return node.value


def replaced(root: Node, path: Loc, new: Node) -> Node:
    """The same document with `new` at `path`; mappings on the way are made, shared parts stay untouched.

    Raises:
        BadInput: something on the way is neither a mapping nor a list that is long enough.
    """
    if not path:
        return new
    part, rest = path[0], path[1:]
    if root.items is not None:
        return _replaced_item(root, part, rest, new)
    if not root.is_scalar or root.value is None:
        entries = dict(root.entries or {})
        entry = entries.get(str(part)) or Entry(None, Node(new.file, None))
        child = replaced(entry.node, rest, new)
        entries[str(part)] = Entry(None if child is new else entry.line, child)
        return Node(root.file, root.line, entries=entries)
    raise BadInput(
        f"cannot set a key '{part}' inside a single value",
        place=Place(new.file),
        found=root.describe(),
        allowed="keys of a mapping, positions in a list",
        remedy="set the whole value, e.g. --set 'stages=[canary, 100%]'",
    )


def _replaced_item(root: Node, part: str | int, rest: Loc, new: Node) -> Node:
    items = list(root.items or [])
    position = int(part) if str(part).isdecimal() else -1
    if not 0 <= position < len(items):
        raise BadInput(
            f"there is no position '{part}' in this list",
            place=Place(new.file),
            found=root.describe(),
            allowed=f"0 to {len(items) - 1}" if items else "",
            remedy="set the whole list, e.g. --set 'stages=[canary, 100%]'",
        )
    items[position] = replaced(items[position], rest, new)
    return Node(root.file, root.line, items=items)
