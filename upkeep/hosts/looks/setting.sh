# One configuration value across its sources: the agent's environment wins over its file, that over its default.
# $1 file, $2 pattern with one group, $3 variable, $4 default, $5 the source that should win.
from_file='' from_environment='' unit_says=''
[ ! -r "$1" ] || from_file=$(awk -v pattern="$2" '$0 ~ pattern && !/^[[:space:]]*#/ { found = $0 } END { print found }' "$1")
from_file=${from_file#*[:=]}
from_file=$(printf '%s' "$from_file" | sed 's/^[[:space:]"'"'"']*//; s/[[:space:]"'"'"']*\(#.*\)\{0,1\}$//')
if [ -n "$3" ] && shown MainPID && [ "${shown:-0}" != 0 ] && [ -r "$R/proc/$shown/environ" ]; then
    from_environment=$(tr '\0' '\n' <"$R/proc/$shown/environ" | sed -n "s/^$3=//p" | tail -n 1)
    shown DropInPaths && [ -n "$shown" ] && {
        # shellcheck disable=SC2086
        unit_says=$(grep -l "^Environment=.*$3=" $shown 2>/dev/null | head -n 1)
    }
fi
if [ -n "$from_environment" ]; then
    value=$from_environment winner=environment
elif [ -n "$from_file" ]; then
    value=$from_file winner=file
elif [ -n "$4" ]; then
    value=$4 winner=default
else
    printf '?\t\tno source names it: %s, %s\n' "$1" "${3:-no variable}"
    exit 0
fi
said="$winner wins; file: ${from_file:--}, environment: ${from_environment:--}${unit_says:+ (set by $unit_says)}, default: ${4:--}"
if [ -n "$5" ] && [ "$winner" != "$5" ]; then
    printf '?\t\t%s, but %s should\n' "$said" "$5"
elif [ -n "$from_file" ] && [ -n "$from_environment" ] && [ "$from_file" != "$from_environment" ]; then
    printf '%s\tconflict\t%s\n' "$value" "$said"
else
    printf '%s\t\t%s\n' "$value" "$said"
fi
