# What every look stands on: how it speaks, and what is known of the agent. $R is put in front of /proc, /etc and /sys.
# A look forks as little as it can: an inspection of hundreds of hosts costs them little else.
say() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "${3-}" "${4-}"; }
# shellcheck disable=SC2153
shown() {
    shown=${SHOWN#*"
$1="}
    [ "$shown" != "$SHOWN" ] || { shown='' && return 1; }
    shown=${shown%%"
"*}
}
