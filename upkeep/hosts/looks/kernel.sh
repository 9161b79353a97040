# Everything the kernel keeps in small files: load, memory, swap, handles, processes, pressure, time since boot.
set --
for file in loadavg stat meminfo vmstat uptime sys/fs/file-nr sys/kernel/pid_max pressure/memory pressure/io \
    sys/net/netfilter/nf_conntrack_count sys/net/netfilter/nf_conntrack_max; do
    [ ! -r "$R/proc/$file" ] || set -- "$@" "$R/proc/$file"
done
[ $# -gt 0 ] || exit 0
awk '
function tell(key, value, detail) { printf "%s\t%s\t\t%s\n", key, value, detail }
function share(key, part, whole, detail) { if (whole > 0) tell(key, sprintf("%.1f", 100 * part / whole), detail) }
FNR == 1 { n = split(FILENAME, part, "/"); file = part[n - 1] "/" part[n] }
file ~ /\/loadavg$/ { load = $1; split($4, tasks, "/") }
file ~ /proc\/stat$/ && /^cpu[0-9]/ { cores++ }
file ~ /\/meminfo$/ { mem[$1] = $2 }
file ~ /\/vmstat$/ && $1 == "oom_kill" { oom = $2; has_oom = 1 }
file ~ /\/uptime$/ { up = $1 }
file ~ /\/file-nr$/ { handles = $1; most_handles = $3 }
file ~ /\/pid_max$/ { pids = $1 }
file ~ /pressure\/memory$/ && $1 == "full" { split($3, p, "="); memory_pressure = p[2]; has_memory_pressure = 1 }
file ~ /pressure\/io$/ && $1 == "full" { split($3, p, "="); io_pressure = p[2]; has_io_pressure = 1 }
file ~ /nf_conntrack_count$/ { tracked = $1; has_tracked = 1 }
file ~ /nf_conntrack_max$/ { most_tracked = $1 }
END {
    if (load != "" && cores) tell("load.per_core", sprintf("%.2f", load / cores), "load " load " on " cores " cores")
    share("memory.available", mem["MemAvailable:"], mem["MemTotal:"], int(mem["MemAvailable:"] / 1024) " of " int(mem["MemTotal:"] / 1024) " MiB")
    if (mem["SwapTotal:"] > 0) share("swap.used", mem["SwapTotal:"] - mem["SwapFree:"], mem["SwapTotal:"], int(mem["SwapTotal:"] / 1024) " MiB swap")
    else if ("SwapTotal:" in mem) tell("swap.used", "none", "the host has no swap")
    share("files.used", handles, most_handles, handles " of " most_handles)
    share("processes.used", tasks[2], pids, tasks[2] " of " pids)
    if (has_oom) tell("oom.kills", oom)
    if (up != "") tell("uptime", sprintf("%.3f", up / 86400))
    tell("pressure.memory", has_memory_pressure ? memory_pressure : "none", has_memory_pressure ? "" : "this kernel does not tell pressure")
    tell("pressure.io", has_io_pressure ? io_pressure : "none", has_io_pressure ? "" : "this kernel does not tell pressure")
    if (has_tracked) share("conntrack.used", tracked, most_tracked, tracked " of " most_tracked)
    else tell("conntrack.used", "none", "no connection tracking")
}' "$@"
