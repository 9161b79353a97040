# The agent's log level, raised for a time and put back for certain: before it is raised, the host arms what puts it back.
# Not part of the library: a raise brings it along, and so does what puts it back.
# shellcheck disable=SC2015,SC2034,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

# One line of the file for another; all other lines stay as they are by now.
level_swap() {
	rm -f -- "$2.upkeep-new"
	cp -p -- "$2" "$2.upkeep-new" || return 1
	awk 'FNR == 1 { part++ } part == 1 { from = $0; next } part == 2 { to = $0; next } $0 == from { $0 = to } { print }' \
		"$1" "$3" "$2" >"$2.upkeep-new" || return 1
	sync "$2.upkeep-new" && replace "$2.upkeep-new" "$2" && sync "${2%/*}"
}

# A stopped agent stays stopped.
level_apply() {
	take_state
	case $state_now in active | activating | reloading) ;; *) return 0 ;; esac
	if [ -n "$RELOAD" ]; then timeout -k 5 30 sh -c "$RELOAD" </dev/null >/dev/null 2>&1 9>&-; else service_restart; fi
}

level_unit() {
	if [ "$1" = timer ]; then
		printf '[Unit]\nDescription=Upkeep: puts the log level of %s back\n[Timer]\nOnActiveSec=%ss\nAccuracySec=1s\n' "$AGENT" "$LASTING"
		printf 'Unit=%s.service\n[Install]\nWantedBy=timers.target\n' "$LEVEL_UNIT"
	else
		printf '[Unit]\nDescription=Upkeep: puts the log level of %s back\n[Service]\nType=oneshot\nExecStart=/bin/sh %s timer\n' "$AGENT" "$LEVEL_SCRIPT"
	fi
}

# On systemd a timer that a reboot starts anew; elsewhere a process of its own session.
level_arm() {
	put "$U/incoming/level.sh" "$SETTINGS$newline$LIBRARY$newline$LEVEL_FUNCTIONS${newline}level_main \"\$1\"" || return 1
	take_kind
	if [ "$kind" = systemd ]; then
		put "$UNITS/$LEVEL_UNIT.timer" "$(level_unit timer)" && put "$UNITS/$LEVEL_UNIT.service" "$(level_unit service)" || return 1
		log_anew
		ctl_logged daemon-reload && ctl_logged enable "$LEVEL_UNIT.timer" && ctl_logged restart "$LEVEL_UNIT.timer"
	elif command -v setsid >/dev/null; then
		setsid /bin/sh "$U/incoming/level.sh" process >>"$U/level/log" 2>&1 </dev/null 8>&- 9>&- &
		its_guard=$!
		take_start "$its_guard"
		put "$U/level/guard" "pid=$its_guard${newline}started=$ticks"
	else
		return 1
	fi
}

level_disarm() {
	if [ -e "$UNITS/$LEVEL_UNIT.timer" ]; then
		ctl_logged disable "$LEVEL_UNIT.timer"
		ctl_logged --no-block stop "$LEVEL_UNIT.timer"
		rm -f -- "$UNITS/$LEVEL_UNIT.service" "$UNITS/$LEVEL_UNIT.timer"
		ctl_logged daemon-reload
	fi
	get "$U/level/guard" pid
	its_guard=$got
	get "$U/level/guard" started
	if [ -n "$its_guard" ] && [ "$its_guard" != "$$" ] && take_start "$its_guard" && [ "$ticks" = "$got" ]; then
		stop_process "$its_guard"
	fi
}

# Safe to repeat; nothing happens where no level is raised.
level_back() {
	[ -f "$U/level/file" ] || return 0
	its_file=$(cat "$U/level/file")
	if [ -e "$its_file" ] && grep -qxF -f "$U/level/new" "$its_file"; then
		level_swap "$U/level/new" "$its_file" "$U/level/old" || return 1
		level_apply || return 1
	fi
	level_disarm
	rm -rf -- "$U/level" "$U/incoming/level.sh" && sync "$U"
}

level_main() {
	LC_ALL=C PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
	export LC_ALL PATH
	umask 022
	cd /
	[ "$1" != process ] || sleep "$LASTING"
	tries=1
	while [ "$tries" -le 5 ]; do
		(open_writer && level_back) && exit 0
		sleep $((tries * 10))
		tries=$((tries + 1))
	done
	exit 1
}

phase_level_raise() {
	open_writer
	own_lock
	level_back || finish failed "the log level that an earlier run raised cannot be put back"
	mkdir -p -- "$U/level" && chmod 0700 "$U/level" || finish failed "$U/level cannot be made"
	put "$U/level/old" "$OLD_LINE" && put "$U/level/new" "$NEW_LINE" && put "$U/level/file" "$FILE" || finish failed "$U/level cannot be written"
	level_arm || finish guard-failed "what puts the log level back could not be armed"
	level_swap "$U/level/old" "$FILE" "$U/level/new" || finish failed "$FILE cannot be changed"
	level_apply || finish failed "$UNIT did not come up with the other log level: $(service_evidence)"
	say what "the log level is raised for at most $LASTING s"
	finish ok
}

phase_level_back() {
	open_writer
	level_back || finish failed "the log level could not be put back now; the host tries again by itself"
	say what "the log level is as it was"
	finish ok
}
