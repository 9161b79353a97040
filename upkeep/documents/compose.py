"""From YAML events to nodes: duplicate keys, foreign tags, depth and alias bombs are refused on the way."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from upkeep.documents.node import Entry, Node, dotted
from upkeep.documents.scalar import understood
from upkeep.errors import BadInput, Place, shorten

MAX_DEPTH = 50
MAX_NODES = 500_000
MAX_ALIASED = 10_000

_CORE = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_NOUNS = {"hosts": "host", "groups": "group"}


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    node: Node
    name: str | int
    anchor: str | None
    key: str | None = None
    key_line: int | None = None


class Composer:
    """Takes the events of one document in turn; `root` is set when it is complete."""

    def __init__(self, file: str, *, lines: bool) -> None:
        self.root: Node | None = None
        self._file, self._lines = file, lines
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = self._aliased = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event.

        Raises:
            BadInput: the document breaks a rule, with its line.
        """
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise self._bad(
                "holds several documents", event, allowed="one document", remedy="remove what follows '---'"
            )

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line = self._line(event)
        top = self._open[-1] if self._open else None
        if top is not None and top.node.entries is not None and top.key is None:
            self._check_tag(event)
            self._key(top, event)
            return
        node = Node(self._file, line, raw=event.value, value=event.value)
        if event.implicit[0] or self._check_tag(event) in _KINDS:
            node.value, node.doubt = understood(event.value)
        self._check_kind(event, node)
        self._add(node, event)

    def _key(self, top: _Open, event: yaml.ScalarEvent) -> None:
        entries = top.node.entries or {}
        top.key, top.key_line = event.value, self._line(event)
        if top.key == "<<" and event.implicit[0]:
            raise self._bad(
                "merge keys are not understood",
                event,
                found="<<",
                remedy="write the keys out, or use groups and defaults",
            )
        if top.key in entries:
            first = entries[top.key].line
            where = f", first at line {first}" if first else ""
            noun = _NOUNS.get(str(top.name), "key")
            name = shorten(top.key, 80)
            raise self._bad(
                f"duplicate {noun} '{name}'{where}", event, allowed=f"each {noun} once", remedy="remove one of them"
            )

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self._check_tag(event)
        if self._open and self._open[-1].node.entries is not None and self._open[-1].key is None:
            raise self._bad("a key is a mapping or a list", event, allowed="text as key")
        if len(self._open) >= MAX_DEPTH:
            raise self._bad(
                "is nested too deeply", event, found=f"more than {MAX_DEPTH} levels", allowed=f"{MAX_DEPTH}"
            )
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        node = Node(self._file, self._line(event), entries={} if is_mapping else None, items=None if is_mapping else [])
        self._open.append(_Open(node, self._name(), event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        self._add(done.node, None, done.anchor)

    def _alias(self, event: yaml.AliasEvent) -> None:
        node = self._anchors.get(str(event.anchor))
        if node is None:
            raise self._bad(f"alias '*{event.anchor}' points at nothing complete before it", event)
        if self._open and self._open[-1].node.entries is not None and self._open[-1].key is None:
            raise self._bad("a key is an alias", event, allowed="text as key")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            allowed = f"aliases that stand for at most {MAX_ALIASED} values in all"
            raise self._bad("aliases blow the document up", event, allowed=allowed, remedy="write the values out")
        if len(self._open) + node.height >= MAX_DEPTH:
            raise self._bad("is nested too deeply through aliases", event, allowed=f"{MAX_DEPTH} levels")
        self._add(node, event, counted=False)

    def _add(
        self, node: Node, event: yaml.NodeEvent | None, anchor: str | None = None, *, counted: bool = True
    ) -> None:
        name = anchor or (event.anchor if event is not None and counted else None)
        if name:
            self._anchors[name] = node
        self._nodes += counted
        if self._nodes > MAX_NODES:
            raise BadInput("holds too many values", place=Place(self._file, node.line), allowed=f"{MAX_NODES} values")
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.node.size += node.size
        top.node.height = max(top.node.height, node.height + 1)
        if top.node.items is not None:
            top.node.items.append(node)
        elif top.node.entries is not None and top.key is not None:
            top.node.entries[top.key] = Entry(top.key_line, node)
            top.key = None

    def _name(self) -> str | int:
        if not self._open:
            return ""
        top = self._open[-1]
        return len(top.node.items) if top.node.items is not None else str(top.key)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> str:
        """The core schema's name for an explicit tag, empty without one."""
        if event.tag in {None, "!"}:
            return ""
        name = str(event.tag).removeprefix(_CORE)
        allowed = {*_KINDS, "str"} if isinstance(event, yaml.ScalarEvent) else {"map", "seq"}
        if not str(event.tag).startswith(_CORE) or name not in allowed:
            raise self._bad(
                "a tag is not understood", event, found=event.tag, allowed="no tags", remedy="remove the tag"
            )
        return name

    def _check_kind(self, event: yaml.ScalarEvent, node: Node) -> None:
        kinds = _KINDS.get(self._check_tag(event), (object,))
        if not isinstance(node.value, kinds):
            raise self._bad("the value does not fit its tag", event, found=event.value, remedy="remove the tag")

    def _line(self, event: yaml.Event) -> int | None:
        return event.start_mark.line + 1 if self._lines and event.start_mark else None

    def _bad(
        self, problem: str, event: yaml.Event, *, found: object = None, allowed: str = "", remedy: str = ""
    ) -> BadInput:
        where = [o.name for o in self._open[1:]]
        if self._open and self._open[-1].key is not None:
            where.append(self._open[-1].key)
        place = Place(self._file, self._line(event), shorten(dotted(where), 200))
        return BadInput(problem, place=place, found=found, allowed=allowed, remedy=remedy)
