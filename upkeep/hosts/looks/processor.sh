# What the processors did during one second.
sample() { # user nice system idle iowait irq softirq steal
    read -r name u n s i w q o t _ <"$R/proc/stat" && [ "$name" = cpu ] && set -- "$u" "$n" "$s" "$i" "$w" "$q" "$o" "${t:-0}" && sampled=$*
}
tell() { say "$1" "$((1000 * $2 / total / 10)).$((1000 * $2 / total % 10))"; }
[ -r "$R/proc/stat" ] || exit 0
sample || exit 0
# shellcheck disable=SC2086 # words
set -- $sampled
sleep 1
sample || exit 0
total=$((u + n + s + i + w + q + o + t - $1 - $2 - $3 - $4 - $5 - $6 - $7 - $8))
[ "$total" -gt 0 ] || exit 0
tell cpu.busy $((total - i + $4 - w + $5))
tell cpu.iowait $((w - $5))
tell cpu.steal $((t - $8))
