#!/bin/sh
# `systemctl` of a benchmark host. Which host is meant is the address that was logged in to. One unit: bench-agent.service.
address=${SSH_CONNECTION% *}
host=@HOSTS@/${address##* }
verb='' wanted=''
while [ $# -gt 0 ]; do
	case $1 in
	-p | --property) wanted="$wanted $2 " && shift ;;
	-p*) wanted="$wanted ${1#-p} " ;;
	--property=*) wanted="$wanted ${1#--property=} " ;;
	-*) ;;
	*) [ -n "$verb" ] || verb=$1 ;;
	esac
	shift
done

is_alive() {
	pid=0
	{ IFS= read -r pid <"$host/run/pid" && IFS= read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
	case $stat in *") Z "*) return 1 ;; esac
}

tell() {
	case $wanted in '' | *" $1 "*) printf '%s=%s\n' "$1" "$2" ;; esac
}

show() {
	active=inactive sub=dead since=0
	if is_alive; then active=active sub=running; else pid=0; fi
	[ ! -f "$host/run/since" ] || read -r since <"$host/run/since"
	tell Id bench-agent.service
	tell LoadState loaded
	tell ActiveState "$active"
	tell SubState "$sub"
	tell NRestarts 0
	tell MainPID "$pid"
	tell Result success
	tell UnitFileState enabled
	tell FragmentPath ''
	tell DropInPaths ''
	tell NeedDaemonReload no
	tell ExecMainStartTimestampMonotonic "$since"
}

stop() {
	is_alive || return 0
	kill "$pid"
	while is_alive; do :; done
}

# Type=notify: back when the agent says that it is ready.
start() {
	! is_alive || return 0
	rm -f "$host/run/version"
	read -r uptime _ </proc/uptime
	echo "${uptime%.*}${uptime#*.}0000" >"$host/run/since"
	setsid "$host/usr/bin/bench-agent" "$host" </dev/null >>"$host/run/log" 2>&1 &
	echo $! >"$host/run/pid"
	read -r _ <"$host/run/ready"
}

case $verb in
show) show ;;
list-units) ;;
is-active)
	if is_alive; then echo active; else echo inactive && exit 3; fi
	;;
stop) stop ;;
start) start ;;
restart)
	stop
	start
	;;
esac
