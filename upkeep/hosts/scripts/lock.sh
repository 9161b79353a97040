# One host belongs to one run at a time; the fence rises with every new holder, so that an old one can no longer write.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

lock_read() {
	[ -f "$U/lock" ] || return 1
	l_run='' l_owner='' l_reason='' l_since='' l_until='' l_fence=''
	while IFS= read -r line || [ -n "$line" ]; do
		value=${line#*=}
		case ${line%%=*} in
		run) l_run=$value ;;
		owner) l_owner=$value ;;
		reason) l_reason=$value ;;
		since) l_since=$value ;;
		until) l_until=$value ;;
		fence) l_fence=$value ;;
		esac
	done <"$U/lock"
	for number in "$l_since" "$l_until" "$l_fence"; do
		case $number in '' | *[!0-9]*) return 1 ;; esac
	done
	[ -n "$l_run" ]
}

# The lock is $text; $1 stands before every key.
take_lock_text() {
	text=''
	add "$1run" "$l_run"
	add "$1owner" "$l_owner"
	add "$1reason" "$l_reason"
	add "$1since" "$l_since"
	add "$1until" "$l_until"
	add "$1fence" "$l_fence"
}

tell_lock() {
	take_lock_text lock.
	printf '%s\n' "$text"
}

# $1 and $2: another file of the same folder, and its text.
lock_write() {
	take_lock_text ''
	if [ $# -gt 0 ]; then put_both "$1" "$2" "$U/lock" "$text"; else put "$U/lock" "$text"; fi ||
		finish failed "the lock in $U cannot be written"
}

# One writer at a time, controller or guard; then the journal as it is now.
open_writer() {
	know_tools
	[ -d "$U/backups" ] && [ -d "$U/incoming" ] && [ -f "$U/lock" ] || own_folders
	exec 9>>"$U/mutex"
	flock -w "$MUTEX_WAIT" 9 || finish busy "another script has been writing in $U for $MUTEX_WAIT s"
	journal_open
}

# Nobody else reads there; seen to before a run takes the lock.
own_folders() {
	mkdir -p -- "$U" "$U/backups" "$U/incoming" && chmod 0700 "$U" "$U/backups" "$U/incoming" || finish failed "$U cannot be made"
}

# Only the run that holds the lock, with its present fence, may go on.
own_lock() {
	lock_read || finish lock-lost "no run holds the lock of this host"
	[ "$l_run" = "$RUN" ] && [ "$l_fence" = "$FENCE" ] && return
	tell_lock
	finish locked
}

# The next fence is $fence, higher than any that was ever given: $1, the journal's, the one written down.
take_fence() {
	highest=0
	{ IFS= read -r highest <"$U/fence"; } 2>/dev/null || true
	case $highest in '' | *[!0-9]*) highest=0 ;; esac
	for fence in "$j_fence" "$1"; do
		[ "$fence" -le "$highest" ] || highest=$fence
	done
	fence=$((highest + 1))
}

phase_take_lock() {
	open_writer
	time=$(date +%s) held=no again=no
	! lock_read || held=yes
	if [ "$held" = yes ] && [ "$TAKE_OVER" = no ]; then
		if [ "$l_run" = "$RUN" ]; then
			again=yes
		elif [ "$l_until" -gt "$time" ]; then
			tell_lock
			finish locked
		fi
	fi
	set --
	if [ "$again" = no ]; then
		[ "$held" = yes ] || l_fence=0
		take_fence "$l_fence"
		l_fence=$fence l_since=$time
		clear_name "$U/hashes" && clear_name "$U/tools"
		set -- "$U/fence" "$l_fence"
	fi
	l_run=$RUN l_owner=$OWNER l_reason=$REASON l_until=$((time + LEASE))
	lock_write "$@"
	keep_tools
	say fence "$l_fence"
	finish ok
}

phase_extend_lock() {
	open_writer
	own_lock
	l_until=$(($(now) + LEASE))
	lock_write
	finish ok
}

drop_lock() {
	rm -f -- "$U/lock" && sync "$U" || finish failed "the lock in $U cannot be removed"
}

phase_release_lock() {
	[ -e "$U/lock" ] || finish ok
	open_writer
	lock_read || finish ok
	own_lock
	drop_lock
	finish ok
}
