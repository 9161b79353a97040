# The agent's unit. What systemctl prints goes to a file: a service that inherits a pipe would keep this script waiting.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

ctl() {
	timeout -k 5 "$START_TIMEOUT" systemctl "$@" </dev/null 9>&-
}

# On a full disk there is no log, but the service can still be stopped. (':' would end the shell when it cannot redirect.)
log_anew() {
	log=$U/systemctl.log
	true 2>/dev/null >"$log" || log=/dev/null
}

ctl_logged() {
	ctl "$@" >>"${log:-/dev/null}" 2>&1
}

# What systemd says of the unit is $shown.
take_shown() {
	shown=$(timeout -k 5 "$START_TIMEOUT" systemctl show "$UNIT" -p LoadState -p ActiveState -p SubState -p Result -p NRestarts -p MainPID \
		-p UnitFileState -p FragmentPath -p DropInPaths 2>/dev/null </dev/null 9>&-)
}

# The unit's state is $state_now: active, failed, ...
take_state() {
	state_now=$(timeout -k 5 "$START_TIMEOUT" systemctl is-active "$UNIT" 2>/dev/null </dev/null 9>&-) || true
}

# Seconds since boot are $up, which no change of the clock disturbs.
take_uptime() { IFS='. ' read -r up rest </proc/uptime; }

wait_active() {
	take_uptime
	give_up=$((up + START_TIMEOUT))
	while :; do
		take_state
		case $state_now in
		active) return 0 ;;
		failed | inactive) return 1 ;;
		esac
		take_uptime
		[ "$up" -lt "$give_up" ] || return 1
		pause
	done
}

# Starts the unit anew and waits until it is active.
service_restart() {
	log_anew
	ctl_logged reset-failed "$UNIT"
	ctl_logged restart "$UNIT" && wait_active
}

service_stop() {
	log_anew
	ctl_logged stop "$UNIT"
}

# Why the unit is not active, in one line.
service_evidence() {
	take_shown
	printf '%s\n' "$shown" | grep -e '^ActiveState=' -e '^SubState=' -e '^Result=' -e '^NRestarts=' | tr '\n' ' '
	tail -c 600 "$U/systemctl.log" 2>/dev/null
}
