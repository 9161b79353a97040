# The agent's unit and its process.
tell() { # KEY PROPERTY
    if shown "$2" && [ -n "$shown" ]; then say "$1" "$shown"; else say "$1" '?' '' "systemctl does not tell $2"; fi
}
tell agent.restarts NRestarts
tell agent.starts_at_boot UnitFileState
tell agent.restarts_itself Restart
drop_ins='' unit_file=''
shown DropInPaths && {
    drop_ins=$shown
    # shellcheck disable=SC2086 # words
    set -- $shown && say agent.drop_ins $# '' "$shown"
}
shown FragmentPath && unit_file=$shown && [ -r "$unit_file" ] && {
    # shellcheck disable=SC2086,SC2046 # words
    set -- $(cat "$unit_file" $drop_ins 2>/dev/null | cksum) && say agent.unit_file "$1-$2" '' "$unit_file $drop_ins"
}
if ! shown MainPID || [ "${shown:-0}" = 0 ] || [ ! -r "$R/proc/$shown/status" ]; then
    for key in user privileges state memory handles threads program; do say "agent.$key" '?' '' 'the agent has no process'; done
    exit 0
fi
pid=$shown
set -- "$R/proc/$pid/fd/"*
[ -e "$1" ] || [ -L "$1" ] || set --
awk -v handles=$# '
function tell(key, value, detail) { printf "%s\t%s\t\t%s\n", key, value, detail }
FILENAME ~ /meminfo$/ { if ($1 == "MemTotal:") total = $2; next }
FILENAME ~ /limits$/ { if (/^Max open files/) most = $4; next }
$1 == "Uid:" { uid = $3 }
$1 == "NoNewPrivs:" { sealed = $2; has_sealed = 1 }
$1 == "State:" { state = $2; words = $3 }
$1 == "VmRSS:" { rss = $2 }
$1 == "Threads:" { threads = $2 }
END {
    if (uid != "") tell("agent.user", uid == 0 ? "root" : "user", "user id " uid)
    if (has_sealed) tell("agent.privileges", sealed == 1 ? "sealed" : "open", "NoNewPrivs " sealed)
    if (state != "") tell("agent.state", state, words)
    if (total > 0 && rss != "") tell("agent.memory", sprintf("%.2f", 100 * rss / total), int(rss / 1024) " MiB")
    if (most + 0 > 0) tell("agent.handles", sprintf("%.1f", 100 * handles / most), handles " of " most)
    else if (most == "unlimited") tell("agent.handles", "none", "no limit")
    if (threads != "") tell("agent.threads", threads)
}' "$R/proc/meminfo" "$R/proc/$pid/limits" "$R/proc/$pid/status"
program=$(readlink "$R/proc/$pid/exe" 2>/dev/null)
case $program in
'') say agent.program '?' '' 'the running program cannot be told' ;;
*' (deleted)') say agent.program replaced '' "$program" ;;
*) say agent.program installed '' "$program" ;;
esac
