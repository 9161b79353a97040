# The dead-man switch: puts the host back by itself unless the change is committed in time.
# On systemd a timer that a reboot starts anew, and a unit at boot for a switch cut in the middle; elsewhere a process of its own session.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

UNITS=/etc/systemd/system

# How the guard of this host is kept is $kind.
take_kind() {
	kind=$GUARD
	[ "$kind" = auto ] || return 0
	if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then kind=systemd; else kind=process; fi
}

take_boot() {
	its_boot=unknown
	{ IFS= read -r its_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || true
}

# When a process was started is $ticks, since boot: with its id it means this process and never another.
take_start() {
	ticks=''
	{ IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	# shellcheck disable=SC2086 # fields after the command's name
	set -- ${stat##*) }
	[ "$1" != Z ] && ticks=${20}
}

guard_alive() {
	get "$U/guard" pid
	g_pid=$got
	get "$U/guard" boot
	take_boot
	[ -n "$g_pid" ] && [ "$got" = "$its_boot" ] || return 1
	get "$U/guard" started
	take_start "$g_pid" && [ "$ticks" = "$got" ]
}

guard_armed() {
	[ -f "$U/guard" ] || return 1
	get "$U/guard" kind
	case $got in
	systemd) [ "$(ctl is-active "$GUARD_UNIT.timer" 2>/dev/null)" = active ] ;;
	*) guard_alive ;;
	esac
}

guard_write() {
	take_boot
	text=''
	add kind "$1"
	add run "$RUN"
	add deadline "$j_guard_deadline"
	add boot "$its_boot"
	add pid "$2"
	add started "$3"
	put "$U/guard" "$text" || finish failed "the dead-man switch in $U cannot be written"
}

guard_arm() {
	put "$U/incoming/guard.sh" "$SETTINGS$newline$LIBRARY${newline}guard_main \"\$1\"" || finish failed "the dead-man switch in $U cannot be written"
	take_kind
	if [ "$kind" = systemd ]; then arm_units; else arm_process; fi
}

arm_process() {
	old=''
	! guard_alive || old=$g_pid
	if command -v setsid >/dev/null; then
		setsid /bin/sh "$U/incoming/guard.sh" process >>"$U/guard.log" 2>&1 </dev/null 8>&- 9>&- &
	else
		(trap '' HUP && exec /bin/sh "$U/incoming/guard.sh" process) >>"$U/guard.log" 2>&1 </dev/null 8>&- 9>&- &
	fi
	new=$!
	take_start "$new" || finish guard-failed "the dead-man switch did not stay alive: $(tail -n 1 "$U/guard.log")"
	guard_write process "$new" "$ticks"
	[ -z "$old" ] || stop_process "$old"
}

# The guard and the sleep it waits in; dash, busybox and bash agree on this form alone.
stop_process() { kill -TERM "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null; }

unit_text() {
	case $1 in
	timer)
		printf '[Unit]\nDescription=Upkeep: puts %s back unless run %s is committed in time\n' "$AGENT" "$RUN"
		printf '[Timer]\nOnActiveSec=%ss\nAccuracySec=1s\nUnit=%s.service\n[Install]\nWantedBy=timers.target\n' "$DEAD_MAN" "$GUARD_UNIT"
		;;
	service)
		printf '[Unit]\nDescription=Upkeep: puts %s back, run %s was not committed in time\nRequiresMountsFor=%s\n' "$AGENT" "$RUN" "$GUARD_SCRIPT"
		printf '[Service]\nType=oneshot\nExecStart=/bin/sh %s timer\n' "$GUARD_SCRIPT"
		;;
	boot)
		printf '[Unit]\nDescription=Upkeep: puts %s back if run %s was cut in the middle of its switch\n' "$AGENT" "$RUN"
		printf 'Before=%s\nRequiresMountsFor=%s\n[Service]\nType=oneshot\nExecStart=/bin/sh %s boot\nTimeoutStartSec=600\n' "$UNIT" "$GUARD_SCRIPT" "$GUARD_SCRIPT"
		printf '[Install]\nWantedBy=multi-user.target\n'
		;;
	esac
}

arm_units() {
	guard_write systemd '' ''
	put "$UNITS/$GUARD_UNIT.timer" "$(unit_text timer)" && put "$UNITS/$GUARD_UNIT.service" "$(unit_text service)" &&
		put "$UNITS/$GUARD_UNIT-boot.service" "$(unit_text boot)" || finish guard-failed "$UNITS cannot be written"
	log_anew
	ctl_logged daemon-reload && ctl_logged enable "$GUARD_UNIT.timer" "$GUARD_UNIT-boot.service" &&
		ctl_logged restart "$GUARD_UNIT.timer" && guard_armed || finish guard-failed "$(tail -c 400 "$U/systemctl.log")"
	sync_tree "$UNITS"
}

# Links and units go together: with the timer's link alone gone, a host that loses power here would keep units that nobody starts or removes.
# Before that a timer that is left finds nothing to undo and finishes this; after it there is none.
disarm_units() {
	rm -f "$UNITS/$GUARD_UNIT.timer.new" "$UNITS/$GUARD_UNIT.service.new" "$UNITS/$GUARD_UNIT-boot.service.new"
	[ -e "$UNITS/$GUARD_UNIT.timer" ] || return 0
	rm -f "$UNITS/timers.target.wants/$GUARD_UNIT.timer" "$UNITS/multi-user.target.wants/$GUARD_UNIT-boot.service" \
		"$UNITS/$GUARD_UNIT-boot.service" "$UNITS/$GUARD_UNIT.service" "$UNITS/$GUARD_UNIT.timer"
	ctl_logged --no-block stop "$GUARD_UNIT.timer"
	ctl_logged daemon-reload
}

# Cut anywhere in here, a timer that is left finds nothing to undo and finishes this.
guard_disarm() {
	old=''
	if guard_alive && [ "$g_pid" != "$$" ]; then old=$g_pid; fi
	rm -f "$U/guard" && sync "$U"
	take_kind
	[ "$kind" != systemd ] || disarm_units
	[ -z "$old" ] || stop_process "$old"
}

# The run is over; whoever holds the host under another fence keeps it.
free_lock() {
	! lock_read || [ "$l_run:$l_fence" != "$RUN:$FENCE" ] || drop_lock
}

# One look at the journal, and the rollback if it is due. Never after a commit, never twice, never for another run.
guard_once() {
	ACTOR=guard
	open_writer
	case $j_run:$j_state in
	"$RUN:armed" | "$RUN:rolling-back") ;;
	"$RUN:switched") [ "$1" != boot ] || finish idle ;;
	"$RUN:"* | *:none | *:committed | *:rolled-back)
		[ "$j_run:$j_state:$j_actor" != "$RUN:rolled-back:guard" ] || free_lock
		guard_disarm
		finish idle
		;;
	*) finish idle ;;
	esac
	case $j_state:$1 in
	armed:boot) why="the host restarted in the middle of the switch" ;;
	rolling-back:*) why="an unfinished rollback was finished by the guard" ;;
	*) why="no commit within $DEAD_MAN s" ;;
	esac
	undo guard "$why" "$1"
	free_lock
	guard_disarm
	finish ok
}

guard_main() {
	LC_ALL=C PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
	export LC_ALL PATH
	umask 022
	cd /
	if [ "$1" = process ]; then
		sleep "$DEAD_MAN"
		# A later guard of the same change has its own deadline.
		! guard_alive || [ "$g_pid" = "$$" ] || exit 0
	fi
	[ -d "$U" ] || exit 0
	tries=1
	while [ "$tries" -le 5 ]; do
		answer=$(guard_once "$1")
		printf '%s\n' "$answer"
		case $answer in *result=ok* | *result=idle*) exit 0 ;; esac
		sleep $((tries * 10))
		tries=$((tries + 1))
	done
	exit 1
}
