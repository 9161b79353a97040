# The host's own record of its change: written whole, checked by its sum, rebuilt from what is there when it cannot be read.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

journal_clear() {
	j_state=none j_run='' j_fence=0 j_agent=$AGENT j_from_version='' j_from_target='' j_to_version='' j_to_target=''
	j_backup='' j_reason='' j_actor='' j_updated_at=0 j_guard_deadline=0
}

# The journal is $text; $1 stands before every key.
take_journal() {
	text=''
	add "$1state" "$j_state"
	add "$1run" "$j_run"
	add "$1fence" "$j_fence"
	add "$1agent" "$j_agent"
	add "$1from_version" "$j_from_version"
	add "$1from_target" "$j_from_target"
	add "$1to_version" "$j_to_version"
	add "$1to_target" "$j_to_target"
	add "$1backup" "$j_backup"
	add "$1reason" "$j_reason"
	add "$1actor" "$j_actor"
	add "$1updated_at" "$j_updated_at"
	add "$1guard_deadline" "$j_guard_deadline"
}

# The SHA-256 of a text and a line break is $sum_of.
take_sum() {
	sum_of=$(
		sha256sum <<.
$1
.
	) && sum_of=${sum_of%% *}
}

journal_read() {
	[ -f "$1" ] || return 1
	sum='' text=''
	while IFS= read -r line; do
		case $line in sum=*) sum=${line#sum=} ;; *) text=$text$line$newline sum='' ;; esac
	done <"$1"
	[ -n "$sum" ] && take_sum "${text%"$newline"}" && [ "$sum_of" = "$sum" ] || return 1
	journal_clear
	while IFS= read -r line; do
		value=${line#*=}
		case ${line%%=*} in
		state) j_state=$value ;;
		run) j_run=$value ;;
		fence) j_fence=$value ;;
		agent) j_agent=$value ;;
		from_version) j_from_version=$value ;;
		from_target) j_from_target=$value ;;
		to_version) j_to_version=$value ;;
		to_target) j_to_target=$value ;;
		backup) j_backup=$value ;;
		reason) j_reason=$value ;;
		actor) j_actor=$value ;;
		updated_at) j_updated_at=$value ;;
		guard_deadline) j_guard_deadline=$value ;;
		esac
	done <"$1"
}

# State, reason and actor are written down. A copy lies with the run's backup.
journal_try() {
	j_state=$1 j_reason=$2 j_actor=$3 j_updated_at=$(date +%s)
	take_journal ''
	take_sum "$text" || return 1
	set -- "$U/journal"
	[ ! -d "$j_backup" ] || set -- "$@" "$j_backup/journal"
	umask 077
	for its_file in "$@"; do
		printf '%s\nsum=%s\n' "$text" "$sum_of" 2>/dev/null >"$its_file.new"
		written=$?
		[ "$written" -eq 0 ] || break
	done
	umask 022
	[ "$written" -eq 0 ] && sync "$U/journal.new" ${2:+"$2.new"} || return 1
	for its_file in "$@"; do
		replace "$its_file.new" "$its_file" && sync "${its_file%/*}" || return 1
	done
}

# Nothing may follow when that fails.
journal_write() {
	journal_try "$@" || finish failed "the journal in $U cannot be written"
}

# What is known without the journal: the newest copy beside a backup, set right by what the binary really is.
journal_rebuild() {
	journal_clear
	rebuilt_from='nothing that is still there'
	# shellcheck disable=SC2012 # names of runs hold only letters, digits, dots and dashes
	for copy in $(ls -1t "$U/backups"/*/journal 2>/dev/null | sed 's:/journal$::; s:.*/::'); do
		journal_read "$U/backups/$copy/journal" || continue
		rebuilt_from="the copy of run $copy"
		break
	done
	switched=no
	[ -z "$j_to_target" ] || [ "$(readlink -- "$BINARY")" != "$j_to_target" ] || switched=yes
	case $j_state:$switched in
	prepared:yes | staged:yes | rolled-back:yes) j_state=switched ;;
	committed:no) journal_clear ;;
	esac
}

journal_unreadable() {
	! journal_read "$U/journal" && { [ -e "$U/journal" ] || [ -e "$U/guard" ]; }
}

# For scripts that write: the journal as read, or set aside and rebuilt.
journal_open() {
	if journal_unreadable; then
		[ ! -e "$U/journal" ] || mv -f -- "$U/journal" "$U/journal.corrupt.$(now)" ||
			finish failed "the unreadable journal in $U cannot be set aside"
		journal_rebuild
		journal_write "$j_state" "the journal was unreadable; rebuilt from $rebuilt_from" "${ACTOR:-controller}"
	elif [ ! -e "$U/journal" ]; then
		journal_clear
	fi
}

tell_journal() {
	take_journal journal.
	printf '%s\n' "$text"
}

# Whether the host is between two versions: something may have been switched, and no end is written down.
unfinished() {
	case $j_state in armed | switched | rolling-back) return 0 ;; esac
	return 1
}
