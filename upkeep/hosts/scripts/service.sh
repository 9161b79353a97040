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

service_show() {
	ctl show "$UNIT" -p LoadState -p ActiveState -p SubState -p Result -p NRestarts -p MainPID -p UnitFileState -p FragmentPath -p DropInPaths 2>/dev/null
}

service_state() { ctl is-active "$UNIT" 2>/dev/null; }

# Seconds since boot, which no change of the clock disturbs.
uptime_seconds() {
	IFS='. ' read -r up rest </proc/uptime && echo "$up"
}

wait_active() {
	give_up=$(($(uptime_seconds) + START_TIMEOUT))
	while :; do
		case $(service_state) in
		active) return 0 ;;
		failed | inactive) return 1 ;;
		esac
		[ "$(uptime_seconds)" -lt "$give_up" ] || return 1
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
	service_show | grep -e '^ActiveState=' -e '^SubState=' -e '^Result=' -e '^NRestarts=' | tr '\n' ' '
	tail -c 600 "$U/systemctl.log" 2>/dev/null
}
