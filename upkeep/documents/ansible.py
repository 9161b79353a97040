"""Inventories as `ansible-inventory --list` and Ansible's inventory scripts print them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from upkeep.documents.node import Loc, Located
from upkeep.documents.problems import Locator
from upkeep.documents.reading import keys_only, validated
from upkeep.domain.inventory import Inventory
from upkeep.errors import BadInput, Place

_REACH = {
    "ansible_host": "address",
    "ansible_port": "port",
    "ansible_user": "user",
    "ansible_ssh_private_key_file": "key",
}
_NAMES_IN_ANSIBLE = {ours: theirs for theirs, ours in _REACH.items()}
_EVERYONE = frozenset({"all", "ungrouped"})


def is_ansible(data: object) -> bool:
    """Whether this is what Ansible prints: it has `_meta`."""
    return isinstance(data, Mapping) and "_meta" in data


def from_ansible(data: object, *, file: str = "ansible-inventory", locator: Locator | None = None) -> Inventory:
    """Ansible's hosts, groups and variables as an inventory.

    Address, port, user and key file come from `ansible_host`, `ansible_port`, `ansible_user` and `ansible_ssh_private_key_file`;
    other single values become vars, except Ansible's own (`ansible_…`), which may be passwords. Group variables are used too.

    Raises:
        BadInput: not of Ansible's form, or a host or value that Upkeep cannot use.
    """
    listing = _Listing(data, file)
    find = locator or partial(keys_only, file)
    return validated(listing.inventory(), Inventory, partial(_relocated, find), file=file)


class _Listing:
    """The printed JSON: one mapping per group, and `_meta.hostvars`."""

    def __init__(self, data: object, file: str) -> None:
        self._file = file
        self._groups = {str(k): self._mapping(v, str(k)) for k, v in self._mapping(data, "").items() if k != "_meta"}
        meta = self._mapping(data, "").get("_meta") or {}
        self._hostvars = self._mapping(self._mapping(meta, "_meta").get("hostvars") or {}, "_meta.hostvars")

    def inventory(self) -> dict[str, object]:
        """What `Inventory` reads."""
        names = {*self._hostvars, *(host for group in self._groups for host in self._members(group, "hosts"))}
        if not names:
            raise self._bad("holds no host", "_meta.hostvars", "0 hosts")
        chains = {group: self._ancestry(group, ()) for group in self._groups}
        direct: dict[str, list[str]] = {name: [] for name in names}
        for group in self._groups:
            for host in self._members(group, "hosts"):
                direct[host] += [g for g in chains[group] if g not in direct[host]]
        return {
            "defaults": self._traits("all"),
            "groups": {group: self._traits(group) for group in self._groups if group not in _EVERYONE},
            "hosts": {
                name: {**_split(self._of_host(name)), "groups": [g for g in direct[name] if g not in _EVERYONE]}
                for name in sorted(names)
            },
        }

    def _of_host(self, name: str) -> Mapping[str, object]:
        return self._mapping(self._hostvars.get(name) or {}, f"_meta.hostvars.{name}")

    def _traits(self, group: str) -> dict[str, object]:
        given = self._groups.get(group, {}).get("vars") or {}
        traits = _split(self._mapping(given, f"{group}.vars"))
        traits.pop("address", None)
        return traits

    def _ancestry(self, group: str, below: tuple[str, ...]) -> tuple[str, ...]:
        """The groups around a group, outermost first, then itself: later ones win."""
        if group in below:
            raise self._bad("the group is its own child", f"{group}.children", group)
        parents = [g for g in self._groups if group in self._members(g, "children")]
        around = [name for parent in parents for name in self._ancestry(parent, (*below, group))]
        return (*dict.fromkeys(around), group)

    def _members(self, group: str, kind: str) -> list[str]:
        given = self._groups[group].get(kind) or []
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise self._bad("must be a list of names", f"{group}.{kind}", given)
        return given

    def _mapping(self, value: object, key: str) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        raise self._bad("must be a mapping", key, value)

    def _bad(self, problem: str, key: str, found: object) -> BadInput:
        remedy = "pass the output of: ansible-inventory --list"
        return BadInput(problem, place=Place(self._file, None, key), found=found, remedy=remedy)


def _split(given: Mapping[str, object]) -> dict[str, object]:
    """Ansible's variables as ways to reach a host and vars."""
    reach = {ours: given[theirs] for theirs, ours in _REACH.items() if given.get(theirs) is not None}
    others = {k: v for k, v in given.items() if not k.startswith("ansible_") and isinstance(v, (str, int, float))}
    return {**reach, "vars": others}


def _relocated(find: Locator, loc: Loc) -> Located:
    """A location in our inventory as the one in Ansible's."""
    match loc:
        case ("hosts", str(host), *rest):
            return find(("_meta", "hostvars", host, *_theirs(rest)))
        case ("groups", str(group), *rest):
            return find((group, "vars", *_theirs(rest)))
        case ("defaults", *rest):
            return find(("all", "vars", *_theirs(rest)))
        case _:
            return find(())


def _theirs(rest: list[str | int]) -> list[str | int]:
    if rest[:1] == ["vars"]:
        return rest[1:]
    return [_NAMES_IN_ANSIBLE.get(str(part), part) for part in rest]
