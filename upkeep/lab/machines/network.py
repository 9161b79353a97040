"""The machines' network: a bridge in a control namespace, one namespace and one port for each machine."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from upkeep.lab.machines.layout import (
    BRIDGE,
    CONTROL_ADDRESS,
    NAMESPACES,
    PREFIX_LENGTH,
    Layout,
    address,
    bridge_port,
    namespace_path,
)
from upkeep.lab.machines.processes import attempt, call

_FLUSH_ATTEMPTS = 3
_CLONE_NEWNET = 0x40000000
_C_LIBRARY = ctypes.CDLL(None, use_errno=True)

Answer = TypeVar("Answer")


def make_control(layout: Layout) -> None:
    """Make the control namespace with its bridge, if it is not there."""
    if namespace_path(layout.control).exists():
        return
    call(("ip", "netns", "add", layout.control))
    _batch(
        layout.control,
        "link set lo up",
        f"link add {BRIDGE} type bridge forward_delay 0",
        f"link set {BRIDGE} up",
        f"addr add {CONTROL_ADDRESS}/{PREFIX_LENGTH} dev {BRIDGE}",
    )


def make_link(layout: Layout, number: int) -> None:
    """Make a machine's namespace and plug it into the bridge, if that is not done."""
    own, port = layout.namespace(number), bridge_port(number)
    if namespace_path(own).exists():
        return
    call(("ip", "netns", "add", own))
    call(f"ip link add {port} netns {layout.control} type veth peer name eth0 netns {own}".split())
    _batch(layout.control, f"link set {port} master {BRIDGE} up")
    _batch(
        own,
        "link set lo up",
        "link set eth0 up",
        f"addr add {address(number)}/{PREFIX_LENGTH} dev eth0",
        f"route add default via {CONTROL_ADDRESS}",
    )


def remove_network(layout: Layout) -> None:
    """Remove every namespace of the set, whatever is in it."""
    for path in (NAMESPACES / layout.control, *NAMESPACES.glob(f"{layout.control}-h*")):
        attempt(("ip", "netns", "del", path.name))


def unplug(layout: Layout, number: int) -> None:
    """No packet passes any more and nobody is told: the carrier stays, as when a network parts somewhere else."""
    call(("bridge", "-n", layout.control, "link", "set", "dev", bridge_port(number), "state", "disabled"))


def take_carrier(layout: Layout, number: int) -> None:
    """The cable is out: the machine's own side sees it."""
    _batch(layout.control, f"link set {bridge_port(number)} down")


def drop(layout: Layout, number: int, *, incoming: bool = True, outgoing: bool = True, port: int | None = None) -> None:
    """Drop a machine's packets in one or both directions, all or only those to or from one TCP port of its own."""
    own = address(number)
    match_in = f"ip daddr {own}" + (f" tcp dport {port}" if port else "")
    match_out = f"ip saddr {own}" + (f" tcp sport {port}" if port else "")
    rules = "\n".join(f"{match} drop" for match, wanted in ((match_in, incoming), (match_out, outgoing)) if wanted)
    chains = "\n".join(
        f"chain {hook} {{\ntype filter hook {hook} priority 0\n{rules}\n}}" for hook in ("forward", "input", "output")
    )
    table = f"table bridge {bridge_port(number)}"
    _inside_control(layout, "nft", "-f", "-", text=f"{table} {{}}\ndelete {table}\n{table} {{\n{chains}\n}}\n")


def plug_in(layout: Layout, number: int) -> None:
    """Undo `unplug`, `take_carrier` and `drop`."""
    port = bridge_port(number)
    _batch(layout.control, f"link set {port} up")
    call(("bridge", "-n", layout.control, "link", "set", "dev", port, "state", "forwarding"))
    for namespace, device in ((layout.control, BRIDGE), (layout.namespace(number), "eth0")):
        _forget_neighbours(namespace, device)
    tables = _inside_control(layout, "nft", "list", "tables")
    if f"table bridge {port}\n" in tables:
        _inside_control(layout, "nft", "delete", "table", "bridge", port)


def connect(namespace: str, host: str, port: int, timeout_seconds: float) -> socket.socket:
    """A TCP connection made inside a network namespace; the socket works from everywhere."""
    return inside(namespace, lambda: socket.create_connection((host, port), timeout_seconds))


def inside(namespace: str, action: Callable[[], Answer]) -> Answer:
    """Do something in a thread of its own that has entered a network namespace."""

    def entered() -> Answer:
        enter(namespace_path(namespace))
        return action()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(entered).result()


def enter(path: Path) -> None:
    """Move the calling thread into a network namespace."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _C_LIBRARY.setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def _batch(namespace: str, *lines: str) -> None:
    call(("ip", "-n", namespace, "-batch", "-"), text="\n".join(lines) + "\n")


def _forget_neighbours(namespace: str, device: str) -> None:
    """What was asked during a cut counts as failed. `ip` gives up when an entry vanishes under it, so it is asked again."""
    flush = ("ip", "-n", namespace, "neigh", "flush", "dev", device)
    if not any(attempt(flush) for _ in range(_FLUSH_ATTEMPTS)):
        call(flush)


def _inside_control(layout: Layout, *words: str, text: str | None = None) -> str:
    return call(("nsenter", f"--net={namespace_path(layout.control)}", "--", *words), text=text)
