"""`systemctl` as a lab host has it: the verbs, properties and exit codes that maintenance uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from upkeep.errors import UpkeepError
from upkeep.lab.service import Active, Service
from upkeep.lab.supervisor import NoSuchUnit, Supervisor

INACTIVE_CODE, USAGE_CODE, NO_UNIT_CODE = 3, 1, 4
_IGNORED = {
    "--no-pager",
    "--quiet",
    "-q",
    "--no-ask-password",
    "--system",
    "--full",
    "-l",
    "--no-legend",
    "--plain",
    "--failed",
}


@dataclass(frozen=True)
class Answer:
    """What a command prints and its exit code."""

    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass
class _Call:
    verb: str = ""
    units: list[str] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)
    bare_values: bool = False
    quiet: bool = False
    now: bool = False


async def systemctl(supervisor: Supervisor, arguments: list[str]) -> Answer:
    """Do what `systemctl ARGUMENTS` does."""
    try:
        call = _parse(arguments)
    except ValueError as error:
        return Answer(USAGE_CODE, stderr=f"{error}\n")
    if call.verb in _ASKING:
        return _ASKING[call.verb](supervisor, call)
    if call.verb == "daemon-reload":
        return await _attempt(call.verb, _reload(supervisor))
    if call.verb not in _CHANGING:
        return Answer(USAGE_CODE, stderr=f"Unknown command verb {call.verb}.\n")
    if not call.units:
        return Answer(USAGE_CODE, stderr="Too few arguments.\n")
    answers = [await _attempt(call.verb, _CHANGING[call.verb](supervisor, unit, call), unit) for unit in call.units]
    return next((a for a in answers if a.exit_code), answers[0])


def _parse(arguments: list[str]) -> _Call:
    call, rest = _Call(), list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith(("-p", "--property")):
            value = word.removeprefix("--property").removeprefix("-p").removeprefix("=")
            call.properties += (value or (rest.pop(0) if rest else "")).split(",")
        elif word.startswith("-"):
            _flag(call, word)
        elif call.verb:
            call.units.append(word if "." in word else f"{word}.service")
        else:
            call.verb = word
    return call


def _flag(call: _Call, word: str) -> None:
    if word not in {"--value", "--now", *_IGNORED}:
        message = f"systemctl: unrecognized option '{word}'"
        raise ValueError(message)
    call.bare_values = call.bare_values or word == "--value"
    call.now = call.now or word == "--now"
    call.quiet = call.quiet or word in {"-q", "--quiet"}


async def _attempt(verb: str, doing: Awaitable[None], unit: str = "") -> Answer:
    try:
        await doing
    except NoSuchUnit as error:
        return Answer(error.exit_code, stderr=f"Failed to {verb} {unit}: {error}\n")
    except (UpkeepError, OSError) as error:
        return Answer(1, stderr=f"Failed to {verb} {unit}: {error}\n")
    return Answer()


async def _reload(supervisor: Supervisor) -> None:
    supervisor.reload()


async def _enable(supervisor: Supervisor, unit: str, call: _Call) -> None:
    supervisor.enable(unit)
    if call.now:
        await supervisor.start(unit)


async def _disable(supervisor: Supervisor, unit: str, call: _Call) -> None:
    supervisor.disable(unit)
    if call.now:
        await supervisor.stop(unit)


async def _mask(supervisor: Supervisor, unit: str, call: _Call) -> None:
    if call.now:
        await supervisor.stop(unit)
    supervisor.mask(unit)


async def _unmask(supervisor: Supervisor, unit: str, _: _Call) -> None:
    supervisor.unmask(unit)


def _is_active(supervisor: Supervisor, call: _Call) -> Answer:
    states = [_state(supervisor, unit) for unit in call.units]
    code = 0 if "active" in states else INACTIVE_CODE
    return Answer(code, "" if call.quiet else "".join(f"{state}\n" for state in states))


def _is_failed(supervisor: Supervisor, call: _Call) -> Answer:
    states = [_state(supervisor, unit) for unit in call.units]
    return Answer(0 if "failed" in states else 1, "" if call.quiet else "".join(f"{state}\n" for state in states))


def _is_enabled(supervisor: Supervisor, call: _Call) -> Answer:
    states = [supervisor.file_state(unit) for unit in call.units]
    if "" in states:
        return Answer(1, stderr="Failed to get unit file state: No such file or directory\n")
    good = any(state in {"enabled", "static"} for state in states)
    return Answer(0 if good else 1, "" if call.quiet else "".join(f"{state}\n" for state in states))


def _cat(supervisor: Supervisor, call: _Call) -> Answer:
    paths = [supervisor.unit_path(unit) for unit in call.units]
    missing = [unit for unit, path in zip(call.units, paths, strict=True) if path is None]
    if missing:
        return Answer(1, stderr=f"No files found for {missing[0]}.\n")
    return Answer(0, "\n".join(f"# {path}\n{path.read_text('utf-8')}" for path in paths if path))


def _show(supervisor: Supervisor, call: _Call) -> Answer:
    blocks = []
    for unit in call.units:
        known = properties(supervisor, unit)
        asked = [name for name in call.properties if name in known] if call.properties else list(known)
        blocks.append("".join(f"{known[n]}\n" if call.bare_values else f"{n}={known[n]}\n" for n in asked))
    return Answer(0, "\n".join(blocks))


def _status(supervisor: Supervisor, call: _Call) -> Answer:
    text, code = "", 0
    for unit in call.units:
        known = properties(supervisor, unit)
        if known["LoadState"] == "not-found":
            return Answer(NO_UNIT_CODE, stderr=f"Unit {unit} could not be found.\n")
        text += (
            f"{unit} - {known['Description']}\n     Loaded: {known['LoadState']} ({known['FragmentPath']}; {known['UnitFileState']})\n"
            f"     Active: {known['ActiveState']} ({known['SubState']})\n   Main PID: {known['MainPID']}\n"
        )
        code = code or (0 if known["ActiveState"] == "active" else INACTIVE_CODE)
    return Answer(code, text)


def properties(supervisor: Supervisor, unit: str) -> dict[str, str]:
    """What `systemctl show UNIT` knows, in its order and forms."""
    masked = supervisor.is_masked(unit)
    try:
        service = supervisor.service(unit)
    except UpkeepError as error:
        load = "masked" if masked else ("not-found" if isinstance(error, NoSuchUnit) else "bad-setting")
        return _loaded(supervisor, unit, load) | _DEAD
    return _loaded(supervisor, unit, "masked" if masked else "loaded", service) | _running(service)


_DEAD = {
    "ActiveState": "inactive", "SubState": "dead", "MainPID": "0", "NRestarts": "0", "Result": "success",
    "ExecMainStatus": "0", "ExecMainStartTimestamp": "", "ExecMainStartTimestampMonotonic": "0",
    "ActiveEnterTimestamp": "", "ActiveEnterTimestampMonotonic": "0",
}  # fmt: skip


def _loaded(supervisor: Supervisor, unit: str, load: str, service: Service | None = None) -> dict[str, str]:
    stale = service is not None and supervisor.needs_reload(service.unit)
    path = supervisor.paths.units / unit if load == "masked" else supervisor.unit_path(unit)
    return {
        "Id": unit,
        "Names": unit,
        "Description": service.unit.description if service else unit,
        "LoadState": load,
        "FragmentPath": str(path or ""),
        "UnitFileState": supervisor.file_state(unit) if load != "bad-setting" else "bad",
        "NeedDaemonReload": "yes" if stale else "no",
        "DropInPaths": "",
        "Type": service.unit.kind if service else "simple",
        "Restart": service.unit.restart if service else "no",
    }


def _running(service: Service) -> dict[str, str]:
    return {
        "ActiveState": service.state.value,
        "SubState": service.sub_state,
        "MainPID": str(service.main_pid),
        "NRestarts": str(service.restarts),
        "Result": service.result,
        "ExecMainStatus": str(service.exit_status),
        "ExecMainStartTimestamp": _stamp(service.started_at),
        "ExecMainStartTimestampMonotonic": str(service.started_monotonic),
        "ActiveEnterTimestamp": _stamp(service.active_at),
        "ActiveEnterTimestampMonotonic": str(service.active_monotonic),
    }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC") if seconds else ""


def _state(supervisor: Supervisor, unit: str) -> str:
    try:
        return supervisor.service(unit).state.value
    except UpkeepError:
        return Active.INACTIVE.value


def _system_state(_: Supervisor, __: _Call) -> Answer:
    return Answer(0, "running\n")


def _list_units(supervisor: Supervisor, _: _Call) -> Answer:
    """As asked here: those that failed."""
    names = sorted(path.name for path in supervisor.paths.units.glob("*.service"))
    failed = [name for name in names if _state(supervisor, name) == Active.FAILED.value]
    return Answer(0, "".join(f"{name} loaded failed failed {name}\n" for name in failed))


_ASKING: dict[str, Callable[[Supervisor, _Call], Answer]] = {
    "is-active": _is_active,
    "is-failed": _is_failed,
    "is-enabled": _is_enabled,
    "is-system-running": _system_state,
    "show": _show,
    "status": _status,
    "cat": _cat,
    "list-units": _list_units,
}
_CHANGING: dict[str, Callable[[Supervisor, str, _Call], Awaitable[None]]] = {
    "start": lambda s, unit, _: s.start(unit),
    "stop": lambda s, unit, _: s.stop(unit),
    "restart": lambda s, unit, _: s.restart(unit),
    "reset-failed": lambda s, unit, _: s.reset_failed(unit),
    "enable": _enable,
    "disable": _disable,
    "mask": _mask,
    "unmask": _unmask,
}
