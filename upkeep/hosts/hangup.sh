# Hangs up on a script and its children in the same session; what detached itself (setsid), like a dead-man switch, is left alone.
# Expects $script: the process id of the script's shell.
session_of() {
	IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
	# shellcheck disable=SC2086 # fields of /proc/PID/stat after the command's name: state ppid pgrp session
	set -- ${stat##*) }
	state=$1 parent=$2 session=$4
}
script=${script:?}
session_of "$script" || exit 0
wanted=$session
victims=" $script "
grown=yes
while [ "$grown" = yes ]; do
	grown=no
	for folder in /proc/[0-9]*; do
		pid=${folder#/proc/}
		case $victims in *" $pid "*) continue ;; esac
		session_of "$pid" || continue
		[ "$session" = "$wanted" ] || continue
		case $victims in *" $parent "*) victims="$victims$pid " grown=yes ;; esac
	done
done
# shellcheck disable=SC2086 # a list of process ids
kill -HUP $victims 2>/dev/null
tries=0
while [ "$tries" -lt 10 ]; do
	alive=no
	for pid in $victims; do
		session_of "$pid" && [ "$state" != Z ] && alive=yes
	done
	[ "$alive" = yes ] || exit 0
	sleep 0.1 2>/dev/null || sleep 1
	tries=$((tries + 1))
done
# shellcheck disable=SC2086
kill -KILL $victims 2>/dev/null
exit 0
