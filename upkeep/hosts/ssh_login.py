"""Logging in: offers keys to an SSH server one after the other and says why none was taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import paramiko

from upkeep.errors import BadInput, HostError, LoginRefused, Unreachable
from upkeep.hosts.ssh_keys import KeyFile, agent_keys, read_key_file
from upkeep.hosts.ssh_target import SshTarget


def log_in(transport: paramiko.Transport, target: SshTarget, host: str) -> None:
    """Authenticate as the target's user; `host` is the host the error is about.

    Raises:
        LoginRefused: no key was taken, or keys are not enough.
        Unreachable: the connection broke meanwhile.
        BadInput: a named key file cannot be used.
    """
    tried: list[str] = []
    with ExitStack() as stack:
        for name, key in _offers(target, stack):
            tried.append(name)
            if _taken(transport, target, key, host):
                return
            if not transport.is_active():
                break
    raise LoginRefused(
        host,
        f"{target.login} took none of the keys offered",
        evidence=", ".join(tried) or "no key to offer",
        remedy=f"add the public key to ~{target.user}/.ssh/authorized_keys on the host, or name the right key and user in the inventory",
    )


def _offers(target: SshTarget, stack: ExitStack) -> Iterator[tuple[str, paramiko.PKey]]:
    """Named keys, then the agent's, then those at the usual places; each key once."""
    named = [read_key_file(path, target.name) for path in target.keys]
    locked = [file for file in named if file.key is None]
    offered: set[bytes] = set()
    held = stack.enter_context(agent_keys()) if target.use_agent or locked else ()
    for name, key in (*_from_files(named, held), *_from_agent(target, held), *_from_usual_places(target)):
        if key.asbytes() not in offered:
            offered.add(key.asbytes())
            yield name, key


def _from_files(named: list[KeyFile], held: tuple[paramiko.PKey, ...]) -> Iterator[tuple[str, paramiko.PKey]]:
    for file in named:
        by_agent = (key for key in held if file.public and key.asbytes() == file.public)
        key = file.key or next(by_agent, None)
        if key is not None:
            yield str(file.path), key


def _from_agent(target: SshTarget, held: tuple[paramiko.PKey, ...]) -> Iterator[tuple[str, paramiko.PKey]]:
    if target.use_agent:
        yield from ((f"agent key {getattr(key, 'comment', '') or key.get_name()}", key) for key in held)


def _from_usual_places(target: SshTarget) -> Iterator[tuple[str, paramiko.PKey]]:
    for path in target.default_keys:
        try:
            file = read_key_file(path, target.name)
        except BadInput:  # nobody asked for this file; a missing or open one is passed over as ssh does
            continue
        if file.key is not None:
            yield str(path), file.key


def _taken(transport: paramiko.Transport, target: SshTarget, key: paramiko.PKey, host: str) -> bool:
    try:
        still_wanted = transport.auth_publickey(target.user, key)
    except paramiko.BadAuthenticationType as error:
        raise _other_factor(host, target, error.allowed_types) from error
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise Unreachable(
                host,
                f"{target.login} did not answer a login within its time limit",
                remedy="look at the host's load and its DNS",
            ) from error
        return False
    except (paramiko.SSHException, EOFError, OSError) as error:
        if transport.is_active():  # this key cannot sign: an agent that refuses, an algorithm both sides don't share
            return False
        raise Unreachable(host, f"the connection to {target.login} broke during login", evidence=str(error)) from error
    if still_wanted:
        raise _other_factor(host, target, still_wanted)
    return True


def _other_factor(host: str, target: SshTarget, wanted: list[str]) -> HostError:
    return LoginRefused(
        host,
        f"{target.login} wants more than a key",
        evidence=f"accepts {', '.join(wanted)}",
        remedy="allow PubkeyAuthentication alone for this user in the host's sshd_config",
    )
