# Configuration values across their sources, the winner shown, and whether those that belong together fit.
# $SETTINGS sets nine words a setting: name, file, drop-ins, pattern, variable, default, the source that should win, remote address, order.
if [ -z "${SETTINGS-}" ]; then
    for key in setting.sources heartbeat.interval heartbeat.ratio session.ratio sync.retries sync.timeout sync.share; do
        say "$key" none '' "the agent's profile names no settings"
    done
    exit 0
fi
eval "$SETTINGS"
n=0
while [ $# -ge 9 ]; do
    n=$((n + 1))
    export "N$n=$1" "F$n=$2" "P$n=$4" "E$n=$5" "D$n=$6" "X$n=$7" "R$n=$8" "O$n=$9"
    # shellcheck disable=SC2086 # a pattern of file names
    [ -z "$3" ] || export "I$n=$(printf '%s\n' $3)"
    [ -z "$8" ] || { text=$(curl -s -f -m 5 "$8" 2>/dev/null | head -c 65536) && [ -n "$text" ] && export "T$n=$text"; }
    shift 9
done
pid='' drop_ins=''
# shellcheck disable=SC2154 # shown sets it
! shown MainPID || pid=$shown
! shown DropInPaths || drop_ins=$shown
{ [ ! -r "$R/proc/${pid:-0}/environ" ] || tr '\0' '\n' <"$R/proc/$pid/environ"; } 2>/dev/null | NUMBER=$n DROP_INS=$drop_ins awk '
function trimmed(text) { sub(/^[ \t"\047]+/, "", text); sub(/[ \t\r"\047,]*(#.*)?$/, "", text); return text }
function after(line) { return match(line, /[:=]/) ? trimmed(substr(line, RSTART + 1)) : "" }
function in_file(path, pattern,    line, found) {
    while (path != "" && (getline line < path) > 0) if (line !~ /^[ \t]*#/ && line ~ pattern) found = after(line)
    if (path != "") close(path)
    return found
}
function in_answer(text, pattern,    lines, i, count, found) {
    gsub(/["\047\r]/, "", text)
    count = split(text, lines, /[\n,{}]/)
    for (i = 1; i <= count; i++) { sub(/^[ \t]+/, "", lines[i]); if (lines[i] ~ pattern) found = after(lines[i]) }
    return found
}
function setter(variable,    paths, i, count, line, found) {
    count = split(ENVIRON["DROP_INS"], paths, " ")
    for (i = 1; i <= count && found == ""; i++) {
        while ((getline line < paths[i]) > 0) if (line ~ "^Environment=.*" variable "=") found = paths[i]
        close(paths[i])
    }
    return found == "" ? "" : " (set by " found ")"
}
function or_none(text) { return text == "" ? "-" : text }
function resolve(n,    sources, i, count, drops, value, by, pattern) {
    pattern = ENVIRON["P" n]; by = ""; winner = ""; in_force = ""
    from["file"] = in_file(ENVIRON["F" n], pattern)
    count = split(ENVIRON["I" n], drops, "\n")
    for (i = 1; i <= count; i++) if ((value = in_file(drops[i], pattern)) != "") { from["file"] = value; by = " (set by " drops[i] ")" }
    from["environment"] = ENVIRON["E" n] == "" ? "" : environment[ENVIRON["E" n]]
    from["remote"] = in_answer(ENVIRON["T" n], pattern)
    untold = ENVIRON["R" n] != "" && ENVIRON["T" n] == ""
    count = split(ENVIRON["O" n], sources, " ")
    for (i = 1; i <= count && winner == ""; i++) {
        if (from[sources[i]] != "") { winner = sources[i]; in_force = from[winner] }
        else if (sources[i] == "remote" && untold) winner = "?"
    }
    if (winner == "" && ENVIRON["D" n] != "") { winner = "default"; in_force = ENVIRON["D" n] }
    said = winner " wins; file: " or_none(from["file"]) by ", environment: " or_none(from["environment"])
    if (from["environment"] != "") said = said setter(ENVIRON["E" n])
    if (ENVIRON["R" n] != "") said = said ", remote: " (untold ? "no answer" : or_none(from["remote"]))
    said = said ", default: " or_none(ENVIRON["D" n])
    kind = "agreed"
    for (i = 1; i <= count; i++) if (from[sources[i]] != "" && from[sources[i]] != in_force) kind = "conflict"
    if (ENVIRON["X" n] != "" && winner != ENVIRON["X" n]) { kind = "wrong source"; said = said ", but " ENVIRON["X" n] " should" }
    if (winner == "?") { kind = "?"; said = ENVIRON["R" n] " does not answer: " substr(said, 9) }
    if (winner == "") { kind = "?"; said = "no source names it: " or_none(ENVIRON["F" n]) ", " (ENVIRON["E" n] == "" ? "no variable" : ENVIRON["E" n]) }
}
function seconds(text,    unit) {
    if (text !~ /^[0-9]+(\.[0-9]+)? *(ms|s|sec|m|min|h|d)?$/) return ""
    unit = text; sub(/^[0-9.]+ */, "", unit)
    return (text + 0) * (unit == "ms" ? 0.001 : unit ~ /^m/ ? 60 : unit == "h" ? 3600 : unit == "d" ? 86400 : 1)
}
function tell(key, value, detail, subject) { printf "%s\t%s\t%s\t%s\n", key, value, subject, detail }
# Whether a figure can be told of these settings; what cannot be is said.
function there(key, first, second, third,    names, i) {
    names[1] = first; names[2] = second; names[3] = third
    for (i = 1; i <= 3; i++) if (names[i] != "" && !(names[i] in values)) { tell(key, "none", "the agent\047s profile does not name " names[i]); return 0 }
    for (i = 1; i <= 3; i++) if (names[i] != "" && seconds(values[names[i]]) == "") { tell(key, "?", names[i] " is \047" values[names[i]] "\047, which is no time"); return 0 }
    return 1
}
function of(name) { return seconds(values[name]) }
function share(key, factor, part, whole) {
    if (!there(key, part, whole)) return
    if (of(whole) == 0) tell(key, "?", whole " is 0")
    else tell(key, sprintf("%.2f", factor * of(part) / of(whole)), part " " values[part] ", " whole " " values[whole])
}
{ if (cut = index($0, "=")) environment[substr($0, 1, cut - 1)] = substr($0, cut + 1) }
END {
    for (n = 1; n <= ENVIRON["NUMBER"]; n++) {
        resolve(n)
        gsub(/\t/, " ", said)
        if (ENVIRON["ALONE"] != "") printf "%s\t%s\t%s\n", kind == "wrong source" || kind == "?" ? "?" : in_force, kind == "conflict" ? kind : "", said
        else tell("setting.sources", kind, in_force ": " said, ENVIRON["N" n])
        values[ENVIRON["N" n]] = in_force
    }
    if (ENVIRON["ALONE"] != "") exit
    if (there("heartbeat.interval", "heartbeat_interval")) tell("heartbeat.interval", of("heartbeat_interval"))
    share("heartbeat.ratio", 1, "heartbeat_timeout", "heartbeat_interval")
    share("session.ratio", 1, "session_timeout", "keep_alive" in values ? "keep_alive" : "heartbeat_interval")
    if (there("sync.retries", "sync_retries")) tell("sync.retries", of("sync_retries"))
    if (there("sync.timeout", "sync_timeout")) tell("sync.timeout", of("sync_timeout"))
    if (there("sync.share", "sync_retries", "sync_timeout", "sync_interval")) {
        if (of("sync_interval") == 0) tell("sync.share", "?", "sync_interval is 0")
        else tell("sync.share", sprintf("%.0f", 100 * of("sync_retries") * of("sync_timeout") / of("sync_interval")), values["sync_retries"] " tries of " values["sync_timeout"] " every " values["sync_interval"])
    }
}'
