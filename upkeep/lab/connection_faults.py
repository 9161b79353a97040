"""What can come between a lab host's agent and its control centre, and how each is undone.

What takes root or a network of its own (routes, packet filters, packet sizes) is told by stand-ins in the host's bin; the rest is real.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from upkeep.lab.certificates import new_server_identity
from upkeep.lab.host_files import write_config, write_program
from upkeep.lab.layout import HostPaths

CONNECTION_FAULTS = {
    "stopped": "the agent was stopped",
    "bad-config": "the agent's configuration holds a line it does not know, and it was restarted",
    "wrong-address": "the agent is configured for another control centre, and was restarted",
    "wrong-ca": "the agent trusts another authority, and was restarted",
    "no-route": "ip and bash tell of no route to the control centre (stand-ins; routes take root)",
    "firewall": "connections to the control centre get no answer (a stand-in for bash; packet filters take root)",
    "refused": "connections to the control centre are refused (a stand-in for bash)",
    "mtu": "ip and ping tell of a way on which large packets get lost (stand-ins; packet sizes take root)",
}
RESTARTS = frozenset({"bad-config", "wrong-address", "wrong-ca"})
STOPS = frozenset({"stopped"})

_ELSEWHERE = "server: https://127.0.0.1:9"
_REAL_BASH = "PATH=/usr/local/bin:/usr/bin:/bin; exec bash"
_BASH = 'case "$*" in */dev/tcp/*) {does} ;; *) ' + _REAL_BASH + ' "$@" ;; esac'
_IP = 'case "$*" in "route get "*) {does} ;; *) PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec ip "$@" ;; esac'
_PING = """largest=1172
while [ $# -gt 0 ]; do
    [ "$1" != -s ] || [ "$2" -le "$largest" ] || { echo '1 packets transmitted, 0 received, 100% packet loss'; exit 1; }
    shift
done"""


def _put_in(files: HostPaths, programs: dict[str, str]) -> None:
    for name, body in programs.items():
        write_program(files.bin / name, body)


def _take_out(files: HostPaths, *names: str) -> None:
    for name in names:
        (files.bin / name).unlink(missing_ok=True)


def _edit(files: HostPaths, fault: str, change: Callable[[str], str]) -> None:
    shutil.copy2(files.config, _kept(files, fault))
    write_config(files, change(files.config.read_text("utf-8")))


def _put_back(files: HostPaths, fault: str) -> None:
    shutil.move(_kept(files, fault), files.config)


def _kept(files: HostPaths, fault: str) -> Path:
    return files.aside / f"{files.config.name}.{fault}"


def _other_authority(files: HostPaths) -> Path:
    return files.config.parent / "other-ca.pem"


def _trust_another(files: HostPaths) -> None:
    _other_authority(files).write_bytes(new_server_identity().authority)
    _edit(files, "wrong-ca", lambda text: re.sub(r"(?m)^tls_ca: .*$", f"tls_ca: {_other_authority(files)}", text))


def _trust_as_before(files: HostPaths) -> None:
    _put_back(files, "wrong-ca")
    _other_authority(files).unlink(missing_ok=True)


INJECT: dict[str, Callable[[HostPaths], None]] = {
    "bad-config": lambda files: _edit(files, "bad-config", lambda text: f"{text}sever: x\n"),
    "wrong-address": lambda files: _edit(
        files, "wrong-address", lambda text: re.sub(r"(?m)^server: .*$", _ELSEWHERE, text)
    ),
    "wrong-ca": _trust_another,
    "no-route": lambda files: _put_in(
        files,
        {
            "ip": _IP.format(does="echo 'RTNETLINK answers: Network is unreachable' >&2; exit 2"),
            "bash": _BASH.format(does="echo 'bash: connect: Network is unreachable' >&2; exit 1"),
        },
    ),
    "firewall": lambda files: _put_in(files, {"bash": _BASH.format(does="exec sleep 60")}),
    "refused": lambda files: _put_in(
        files, {"bash": _BASH.format(does="echo 'bash: connect: Connection refused' >&2; exit 1")}
    ),
    "mtu": lambda files: _put_in(
        files, {"ip": _IP.format(does='echo "$3 via 10.0.0.1 dev eth0 src 10.0.0.2"'), "ping": _PING}
    ),
}
UNDO: dict[str, Callable[[HostPaths], None]] = {
    "bad-config": lambda files: _put_back(files, "bad-config"),
    "wrong-address": lambda files: _put_back(files, "wrong-address"),
    "wrong-ca": _trust_as_before,
    "no-route": lambda files: _take_out(files, "ip", "bash"),
    "firewall": lambda files: _take_out(files, "bash"),
    "refused": lambda files: _take_out(files, "bash"),
    "mtu": lambda files: _take_out(files, "ip", "ping"),
}
