# What is on the host, without writing anything there.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

tell_binary() {
	binary_look
	say binary.form "$b_form"
	say binary.link "$b_link"
	say binary.target "$b_target"
	say binary.sha256 "$b_sha256"
}

tell_guard() {
	[ -f "$U/guard" ] || return
	for name in kind run deadline; do
		get "$U/guard" "$name" && say "guard.$name" "$got"
	done
	if guard_armed; then say guard.armed yes; else say guard.armed no; fi
}

tell_name() { say "$1" "${2##*/}"; }

tell_service() {
	take_shown
	while IFS= read -r line; do
		case ${line%%=*} in *[!A-Za-z]* | "$line") ;; *) printf 'service.%s\n' "$line" ;; esac
	done <<.
$shown
.
}

# How far the last change came, and who owns the host.
tell_standing() {
	if journal_unreadable; then
		journal_rebuild
		j_state=corrupt j_reason="the journal is unreadable; known from $rebuilt_from"
	elif [ ! -e "$U/journal" ]; then
		journal_clear
	fi
	tell_journal
	! lock_read || tell_lock
}

phase_standing() {
	tell_standing
	finish ok
}

phase_inspect() {
	say now "$(date +%s)"
	take_boot
	say boot_id "$its_boot"
	tell_standing
	tell_binary
	for place in "$RELEASES"/*/.upkeep-release; do
		[ ! -f "$place" ] || tell_name release "${place%/.upkeep-release}"
	done
	for place in "$U"/backups/*/verified; do
		[ ! -f "$place" ] || tell_name backup "${place%/verified}"
	done
	tell_service
	tell_guard
	finish ok
}
