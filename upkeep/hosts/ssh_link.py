"""One SSH connection to a host, through its jump hosts, every hop's host key verified before anyone logs in."""

from __future__ import annotations

import logging
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import paramiko

from upkeep.domain.document import words
from upkeep.errors import HostError, HostKeyRejected, LoginRefused, Unreachable
from upkeep.hosts.host_keys import Presented, load_known_hosts
from upkeep.hosts.ssh_login import log_in
from upkeep.hosts.ssh_target import SshTarget

_KEX = (
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "mlkem768x25519-sha256",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
)
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
_LOST_AFTER_KEEP_ALIVES = 3
_LEAST_LOST_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_MOSTLY = 0.9
_LOOK_SECONDS = 1.0
"""How often a connection's thread looks up while nothing comes. Paramiko's own 0.1 s cost 0.4 ms of CPU a second for each connection."""
_LEAST_ON_ITS_WAY_BYTES, _BYTES_A_SECOND = 262_144, 125_000_000
_ROUND_TRIP = struct.Struct("=148xI")
"""The shortest round trip in microseconds, as Linux tells it of a connection (struct tcp_info in linux/tcp.h: tcpi_min_rtt)."""
_PROHIBITED = 1  # RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED

# Every error is translated and raised; paramiko's own lines on the terminal would only repeat it with a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass
class SshLink:
    """Transports from the first hop to the host itself; the first one owns the socket."""

    target: SshTarget
    hops: list[paramiko.Transport] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether every hop still stands, as far as is known."""
        return bool(self.hops) and all(hop.is_active() for hop in self.hops)

    @property
    def last(self) -> paramiko.Transport:
        """The host's own transport."""
        return self.hops[-1]

    @property
    def on_its_way_bytes(self) -> int:
        """How much should be on its way to a script at most: what the connection holds at 1 Gbit/s, a quarter of a MiB at least."""
        sock = self.last.sock
        if len(self.hops) > 1 or not isinstance(sock, socket.socket) or not hasattr(socket, "TCP_INFO"):
            return sys.maxsize
        try:
            told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP.size)
        except OSError:  # the connection is gone: the reader learns of it
            return sys.maxsize
        if len(told) < _ROUND_TRIP.size:  # a kernel older than 4.6 does not tell it
            return sys.maxsize
        (microseconds,) = _ROUND_TRIP.unpack(told)
        return max(_LEAST_ON_ITS_WAY_BYTES, int(microseconds) * _BYTES_A_SECOND // 1_000_000)

    def close(self) -> None:
        """End all hops, the socket first, so that nothing waits for a host that hangs."""
        for hop in self.hops:
            if isinstance(hop.sock, socket.socket):
                with suppress(OSError):  # closing alone would take effect only when the thread that reads looks up
                    hop.sock.shutdown(socket.SHUT_RDWR)
            with suppress(paramiko.SSHException, EOFError, OSError):
                hop.close()

    @contextmanager
    def no_longer_than(self, seconds: float) -> Iterator[None]:
        """Close the link when the block takes longer: paramiko waits without end for some answers."""
        timer = threading.Timer(seconds, self.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def open_link(target: SshTarget) -> SshLink:
    """Connect to the target through its jump hosts and log in at each.

    Raises:
        Unreachable: no connection within the time limit, or it broke.
        HostKeyRejected: a hop's key is unknown, changed or revoked.
        LoginRefused: a hop took none of the keys.
    """
    link = SshLink(target)
    try:
        via = ""
        for hop in (*target.jump, target):
            with _about_hop(target, hop):
                transport = _greet(link, hop)
                _verify(transport, hop, via)
                log_in(transport, hop, hop.name)
            transport.set_keepalive(round(target.keep_alive.total_seconds()))
            transport.sock.settimeout(_LOOK_SECONDS)
            via = hop.login
    except BaseException:
        link.close()
        raise
    return link


def _greet(link: SshLink, hop: SshTarget) -> paramiko.Transport:
    """The next hop after the key exchange.

    An sshd with more logins at once than its MaxStartups hangs up before its banner: it is asked again a little later.
    """
    deadline, pause = time.monotonic() + hop.connect_timeout.total_seconds(), _FIRST_PAUSE_SECONDS
    while True:
        stream = _forward(link, hop) if link.hops else _connect(hop)
        transport = _hop_transport(stream, hop)
        link.hops.append(transport)
        try:
            _shake_hands(transport, hop)
        except Unreachable:
            pause *= random.uniform(1.5, 2.5)  # noqa: S311 - spreads logins that were turned away together
            if transport.remote_version or time.monotonic() + pause >= deadline:
                raise
            link.hops.pop().close()
            time.sleep(pause)
        else:
            return transport


def _connect(hop: SshTarget) -> socket.socket:
    """A TCP connection to the first address that answers; the time limit is shared by all addresses of a name."""
    deadline = time.monotonic() + hop.connect_timeout.total_seconds()
    try:
        found = socket.getaddrinfo(hop.address, hop.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(
            hop.name,
            f"the address {hop.address} cannot be resolved",
            evidence=str(error),
            remedy="correct the address, or look at DNS",
        ) from error
    problem: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        share = max(0.05, deadline - time.monotonic()) / (len(found) - number)
        stream = socket.socket(family, kind, protocol)
        try:
            stream.settimeout(share)
            stream.connect(address)
        except OSError as error:
            problem = error
            stream.close()
        else:
            _tune(stream, hop)
            return stream
    said = "timed out" if isinstance(problem, TimeoutError) else problem.strerror if problem else "no address"
    raise Unreachable(
        hop.name,
        f"no TCP connection to {hop.login} within {words(hop.connect_timeout)}",
        evidence=said or str(problem),
        remedy="look whether the host is up, sshd runs there, and the way to it is open",
    ) from problem


def _tune(stream: socket.socket, hop: SshTarget) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        lost = max(_LEAST_LOST_SECONDS, _LOST_AFTER_KEEP_ALIVES * hop.keep_alive.total_seconds())
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(lost * 1000))


def _forward(link: SshLink, hop: SshTarget) -> paramiko.Channel:
    """A stream to `hop` through the hops there are."""
    jump = link.target.jump[len(link.hops) - 1].name
    seconds = hop.connect_timeout.total_seconds()
    try:
        return link.last.open_channel("direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=seconds)
    except paramiko.ChannelException as error:
        if error.code == _PROHIBITED:
            problem = f"jump host {jump} does not forward connections"
            remedy = "allow AllowTcpForwarding in the jump host's sshd_config"
        else:
            problem = f"jump host {jump} cannot reach {hop.address} port {hop.port}"
            remedy = f"look from {jump} whether the host is up and its port open"
        raise Unreachable(hop.name, problem, evidence=error.text, remedy=remedy) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        problem = f"jump host {jump} opened no connection to {hop.address} port {hop.port}"
        raise Unreachable(hop.name, problem, evidence=str(error)) from error


def _hop_transport(stream: socket.socket | paramiko.Channel, hop: SshTarget) -> paramiko.Transport:
    transport = paramiko.Transport(stream)
    seconds = hop.connect_timeout.total_seconds()
    transport.banner_timeout = transport.handshake_timeout = seconds
    transport.auth_timeout = hop.auth_timeout.total_seconds()
    options = transport.get_security_options()
    options.kex = tuple(name for name in _KEX if name in options.kex)
    options.ciphers, options.digests = _CIPHERS, _DIGESTS
    options.key_types = _key_types(hop, tuple(options.key_types))
    return transport


def _key_types(hop: SshTarget, offered: tuple[str, ...]) -> tuple[str, ...]:
    """The types known for this host first, as OpenSSH asks: a host with several keys then shows one that can be verified."""
    known = load_known_hosts(hop.known_hosts).key_types(hop.host_key_name, hop.port)
    wanted = [name for key_type in known for name in (_RSA_SIGNATURES if key_type == "ssh-rsa" else (key_type,))]
    first = [name for name in wanted if name in offered]
    return tuple(dict.fromkeys((*first, *offered)))


def _shake_hands(transport: paramiko.Transport, hop: SshTarget) -> None:
    started = time.monotonic()
    try:
        transport.start_client(timeout=hop.connect_timeout.total_seconds())
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise Unreachable(
            hop.name,
            f"{hop.login} offers no algorithm that is still safe",
            evidence=str(error),
            remedy="update sshd on the host (SHA-1 is not used any more)",
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _no_handshake(transport, hop, str(error), started) from error
    # start_client returns without a word when its time is over.
    if not transport.initial_kex_done:
        raise _no_handshake(transport, hop, "no answer", started)


def _no_handshake(transport: paramiko.Transport, hop: SshTarget, evidence: str, started: float) -> Unreachable:
    if transport.remote_version:
        remedy = "look into the host's sshd log"
        return Unreachable(hop.name, f"{hop.login} broke off the key exchange", evidence=evidence, remedy=remedy)
    silent = time.monotonic() - started >= _MOSTLY * hop.connect_timeout.total_seconds()
    problem = f"sent no SSH banner within {words(hop.connect_timeout)}" if silent else "hung up before any SSH banner"
    return Unreachable(
        hop.name,
        f"{hop.login} accepted the connection and {problem}",
        evidence=evidence,
        remedy="look whether it is sshd that listens on this port, and whether the host is frozen or at its MaxStartups",
    )


def _verify(transport: paramiko.Transport, hop: SshTarget, via: str) -> None:
    key = transport.get_remote_server_key()
    presented = Presented(hop.name, hop.host_key_name, hop.port, key.get_name(), key.asbytes(), via)
    load_known_hosts(hop.known_hosts).check(presented)


@contextmanager
def _about_hop(target: SshTarget, hop: SshTarget) -> Iterator[None]:
    """Put a jump host's trouble down to the host that needs it."""
    try:
        yield
    except (HostKeyRejected, Unreachable, LoginRefused) as error:
        if hop.name == target.name:
            raise
        raise _for_host(error, target.name) from error


def _for_host(error: HostError, host: str) -> HostError:
    return type(error)(host, f"jump host {error.host}: {error.problem}", evidence=error.evidence, remedy=error.remedy)
