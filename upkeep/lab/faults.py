"""Faults that can be injected into a lab host, and how each is undone.

A fault of the agent is written into the host's configuration and takes hold from the plan's target version on. A full disk
and a wrong clock cannot be had without root: stand-ins for `df` and `date` in the host's bin tell of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from upkeep.errors import BadInput
from upkeep.lab import connection_faults
from upkeep.lab.connection_faults import CONNECTION_FAULTS
from upkeep.lab.host_files import CONFIG_MODE, write_config, write_program
from upkeep.lab.layout import UNIT, HostPaths
from upkeep.lab.releases import VARIANTS
from upkeep.lab.ssh_keys import new_ssh_key

CLOCK_OFFSET_SECONDS = 86400
NETWORK_FAULTS = {
    "unreachable": "the host refuses connections, and those there were are cut",
    "frozen": "the host takes connections and never answers; its agent stands still",
    "wrong-host-key": "the host shows another SSH host key",
}
FILE_FAULTS = {
    "disk-full": "df tells of no space left (a stand-in; filling a disk takes root)",
    "inodes-full": "df tells of no inodes left (a stand-in; using them up takes root)",
    "clock-ahead": "date is one day ahead (a stand-in; setting the clock takes root)",
    "masked": "the agent's unit is masked",
    "unit-edited": "the agent's unit file was changed and not reloaded",
    "permission-drift": "the agent's configuration has mode 0666",
    "config-edited": "the agent's configuration was changed by hand",
}
AGENT_FAULTS = {name: f"the new version {what}" for name, what in VARIANTS.items()}
FAULTS = {**AGENT_FAULTS, **NETWORK_FAULTS, **FILE_FAULTS, **CONNECTION_FAULTS}

_DF = r"""real=$(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; command -v df)
"$real" "$@" | awk '
NR == 1 { for (i = 1; i <= NF; i++) { if ($i ~ /^(COLUMNS)$/) free = i; if ($i ~ /%$|^Capacity$/) used = i } print; next }
{ if (free) { $free = 0; if (used) $used = "100%" } print }'"""
_DATE = f"""real=$(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; command -v date)
case "$*" in
  "" | [-+]*) ;;
  *) exec "$real" "$@" ;;
esac
case " $*" in
  *" -d"* | *" --date"* | *" -r"*) exec "$real" "$@" ;;
esac
exec "$real" -d "@$(($("$real" +%s) + {CLOCK_OFFSET_SECONDS}))" "$@\""""


def faults_of(files: HostPaths) -> tuple[str, ...]:
    """The faults injected into a host, oldest first."""
    return tuple(json.loads(files.faults.read_text("utf-8"))) if files.faults.exists() else ()


def inject(files: HostPaths, fault: str, *, from_version: str) -> None:
    """Change the host's files as the fault wants and write it down; one fault of the agent replaces another.

    Raises:
        BadInput: there is no such fault, or another one stands in its way.
    """
    if fault not in FAULTS:
        raise BadInput("no such fault", found=fault, allowed=", ".join(FAULTS))
    if fault in faults_of(files):
        return
    if fault in AGENT_FAULTS:
        _agent_fault(files, fault, from_version)
    elif fault in _INJECT:
        _INJECT[fault](files)
    others = [name for name in faults_of(files) if not (fault in AGENT_FAULTS and name in AGENT_FAULTS)]
    files.faults.write_text(json.dumps([*others, fault]), encoding="utf-8")


def undo_all(files: HostPaths) -> None:
    """Put the host's files back as they were before its faults."""
    faults = faults_of(files)
    for fault in reversed(faults):
        if undo := _UNDO.get(fault):
            undo(files)
    if set(faults) & set(AGENT_FAULTS):
        _agent_fault(files, "", "")
    files.faults.unlink(missing_ok=True)


def other_host_key(files: HostPaths) -> Path:
    """The key that the host shows with the fault `wrong-host-key`."""
    return files.aside / "host_key"


def _agent_fault(files: HostPaths, fault: str, from_version: str) -> None:
    kept = [line for line in files.config.read_text("utf-8").splitlines() if not line.startswith("lab_fault")]
    asked = [f"lab_fault: {fault}", f"lab_fault_from: {from_version}"] if fault else []
    write_config(files, "\n".join([*kept, *asked]) + "\n")


def _keep_aside(path: Path, files: HostPaths) -> None:
    shutil.copy2(path, files.aside / path.name)


def _put_back(path: Path, files: HostPaths) -> None:
    path.unlink(missing_ok=True)
    shutil.move(files.aside / path.name, path)


def _mask(files: HostPaths) -> None:
    unit = files.units / UNIT
    shutil.move(unit, _masked_unit(files))
    unit.symlink_to("/dev/null")


def _unmask(files: HostPaths) -> None:
    (files.units / UNIT).unlink(missing_ok=True)
    shutil.move(_masked_unit(files), files.units / UNIT)


def _masked_unit(files: HostPaths) -> Path:
    return files.aside / f"{UNIT}.masked"


def _edit_unit(files: HostPaths) -> None:
    unit = files.units / UNIT
    if unit.is_symlink():
        raise BadInput("a masked unit has no file to edit", found=unit)
    _keep_aside(unit, files)
    unit.write_text(unit.read_text("utf-8").replace("RestartSec=500ms", "RestartSec=2s"), encoding="utf-8")


def _edit_config(files: HostPaths) -> None:
    _keep_aside(files.config, files)
    write_config(files, files.config.read_text("utf-8").replace("log_level: INFO", "log_level: WARN"))


def _df(files: HostPaths, columns: str) -> None:
    write_program(files.bin / "df", _DF.replace("COLUMNS", columns))


_INJECT: dict[str, Callable[[HostPaths], None]] = {
    "wrong-host-key": lambda files: new_ssh_key(other_host_key(files), files.name),
    "disk-full": lambda files: _df(files, "Available|Avail"),
    "inodes-full": lambda files: _df(files, "IFree"),
    "clock-ahead": lambda files: write_program(files.bin / "date", _DATE),
    "masked": _mask,
    "unit-edited": _edit_unit,
    "permission-drift": lambda files: files.config.chmod(0o666),
    "config-edited": _edit_config,
    **connection_faults.INJECT,
}
_UNDO: dict[str, Callable[[HostPaths], None]] = {
    "disk-full": lambda files: (files.bin / "df").unlink(missing_ok=True),
    "inodes-full": lambda files: (files.bin / "df").unlink(missing_ok=True),
    "clock-ahead": lambda files: (files.bin / "date").unlink(missing_ok=True),
    "masked": _unmask,
    "unit-edited": lambda files: _put_back(files.units / UNIT, files),
    "permission-drift": lambda files: files.config.chmod(CONFIG_MODE),
    "config-edited": lambda files: _put_back(files.config, files),
    **connection_faults.UNDO,
}
