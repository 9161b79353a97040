"""What must hold on a host after every fault (faults.md, head of section J), asked of the host itself."""

from __future__ import annotations

from tests.torture import agent
from tests.torture.host import Host
from upkeep.domain.change import JournalState
from upkeep.errors import UpkeepError
from upkeep.hosts.host_state import HostState

_REMAINS = (
    "find /etc/systemd/system -name 'upkeep-guard-*' | sort; ls {upkeep}/guard 2>/dev/null || true;"
    " find /opt /usr/local/bin -name '*.upkeep-new'"
)
_BACKUPS = """
for folder in {upkeep}/backups/run-*; do
    case $folder in *.new | *.new.* | *'*') continue ;; esac
    [ -f "$folder/verified" ] || {{ echo "$folder has no verdict"; continue; }}
    [ "$(sed -n 's/^sha256=//p' "$folder/verified")" = "$(sha256sum <"$folder/archive.tar.gz" | cut -d ' ' -f 1)" ] || echo "$folder is damaged"
    [ ! -f "$folder/binary" ] || grep -q "^$(sha256sum <"$folder/binary" | cut -d ' ' -f 1)\tbinary" "$folder/upkeep-backup/manifest" ||
        echo "the binary in $folder is damaged"
done
"""


def hold(host: Host) -> HostState:
    """One good version runs, the old one can be had back, the journal can be read, and nothing is uncommitted and unguarded."""
    state, running, installed = host.state(), host.running(), host.installed()
    story = f"{host.name}: {state.journal}; runs '{running}', installed '{installed}', guard {state.guard}"
    assert installed in {agent.OLD, agent.NEW}, f"no whole version is installed. {story}"
    assert running in {agent.OLD, agent.NEW}, f"no version runs. {story}"
    assert host.processes() == 1, f"not exactly one agent runs. {story}"
    assert state.journal.state is not JournalState.CORRUPT, story
    assert host.machine.sh(_BACKUPS.format(upkeep=agent.UPKEEP)) == "", story
    if state.journal.state not in {JournalState.NONE, JournalState.ROLLED_BACK}:
        assert state.journal.run in state.backups, f"the old version cannot be had back. {story}"
    if installed == agent.NEW and state.journal.state is not JournalState.COMMITTED:
        assert state.guard is not None, f"uncommitted and unguarded. {story}"
        assert state.guard.armed, f"uncommitted and unguarded. {story}"
    return state


def at_rest(host: Host, version: str) -> HostState:
    """What holds always, and: this version alone is there, with the configuration it should have, and no guard, lock or litter."""
    state = hold(host)
    story = f"{host.name}: {state.journal}"
    assert (host.installed(), host.running()) == (version, version), story
    if version == agent.OLD:
        assert host.config() == agent.CONFIG, story
        assert state.journal.state in {
            JournalState.ROLLED_BACK,
            JournalState.NONE,
            JournalState.PREPARED,
            JournalState.STAGED,
        }
    else:
        assert state.journal.state is JournalState.COMMITTED, story
    assert state.guard is None, story
    remains = host.machine.sh(_REMAINS.format(upkeep=agent.UPKEEP))
    assert remains == "", f"left behind: {remains.split()}. {story}"
    return state


def well_told(error: BaseException | None, host: Host) -> None:
    """An error, where there is one, names the host and what to do next."""
    if error is None:
        return
    assert isinstance(error, UpkeepError), repr(error)
    assert host.name in str(error), str(error)
