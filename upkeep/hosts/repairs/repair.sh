# What removes a cause that a diagnosis named. Every file and mode is kept aside first, so that it can be put back.
# Not part of the library: a repair brings it along.
# shellcheck disable=SC2015,SC2034,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

repair_open() {
	open_writer
	own_lock
	KEPT=$U/repairs/$RUN
	mkdir -p -- "$KEPT" && chmod 0700 "$U/repairs" "$KEPT" || finish failed "$KEPT cannot be made"
}

# Under which number a file was kept aside; fails when it was not.
kept_as() {
	while read -r its_number its_path; do
		[ "$its_path" != "$1" ] || { echo "$its_number" && return; }
	done <"$KEPT/files"
	return 1
} 2>/dev/null

has_rights_kept() {
	while read -r its_mode its_owner its_path; do
		[ "$its_path" != "$1" ] || return 0
	done <"$KEPT/rights"
	return 1
} 2>/dev/null

unit_value() { take_shown && printf '%s\n' "$shown" | sed -n "s/^$1=//p"; }

# Active, and the same process for a while.
stays_active() {
	wait_active || return 1
	its_process=$(unit_value MainPID)
	sleep "$STEADY"
	take_state
	[ "$state_now" = active ] && [ "$(unit_value MainPID)" = "$its_process" ]
}

phase_repair_service() {
	repair_open
	log_anew
	attempt=1 pause_seconds=$BACKOFF
	while :; do
		ctl_logged reset-failed "$UNIT"
		if ctl_logged "$VERB" "$UNIT" && stays_active; then break; fi
		[ "$attempt" -lt "$ATTEMPTS" ] || finish failed "$UNIT does not stay up after $attempt attempts: $(service_evidence)"
		sleep "$pause_seconds"
		attempt=$((attempt + 1)) pause_seconds=$((pause_seconds * 2))
	done
	say what "$UNIT ${VERB}ed at attempt $attempt"
	finish ok
}

# $RULES: lines of mode, owner (- for as it is) and path.
phase_repair_rights() {
	repair_open
	changed=0
	while read -r mode owner path; do
		[ -e "$path" ] || finish failed "$path is not there"
		has_rights_kept "$path" || stat -L -c '%a %u:%g %n' -- "$path" >>"$KEPT/rights" || finish failed "$KEPT cannot be written"
		before=$(stat -L -c '%a %u:%g' -- "$path")
		[ "$owner" = - ] || chown "$owner" -- "$path" || finish failed "the owner of $path cannot be changed"
		[ "$mode" = - ] || chmod "$mode" -- "$path" || finish failed "the mode of $path cannot be changed"
		[ "$(stat -L -c '%a %u:%g' -- "$path")" = "$before" ] || changed=$((changed + 1))
	done <<RULES
$RULES
RULES
	say what "mode or owner of $changed files put back"
	finish ok
}

# $CONTENT becomes what $FILE holds, all of it or not at all.
phase_repair_file() {
	repair_open
	if ! kept_as "$FILE" >/dev/null; then
		kept=$(($(cat "$KEPT/files" 2>/dev/null | grep -c .) + 1))
		if [ -e "$FILE" ]; then
			copy_of "$FILE" "$KEPT/$kept" && sync "$KEPT/$kept" || finish failed "$FILE cannot be kept aside"
		fi
		echo "$kept $FILE" >>"$KEPT/files" && sync "$KEPT/files" || finish failed "$KEPT cannot be written"
	fi
	rm -f -- "$FILE.upkeep-new"
	if [ -e "$FILE" ]; then
		cp -p -- "$FILE" "$FILE.upkeep-new" || finish failed "$FILE cannot be written beside"
	else
		(umask 077 && : >"$FILE.upkeep-new") && chmod 0644 "$FILE.upkeep-new" || finish failed "$FILE cannot be written beside"
	fi
	printf '%s' "$CONTENT" >"$FILE.upkeep-new" || finish failed "$FILE cannot be written"
	[ -z "$MODE" ] || chmod "$MODE" "$FILE.upkeep-new" || finish failed "the mode of $FILE cannot be changed"
	if cmp -s "$FILE.upkeep-new" "$FILE" && [ -z "$MODE" ]; then
		rm -f -- "$FILE.upkeep-new"
		say what "$FILE is as it should be already"
		finish ok
	fi
	sync "$FILE.upkeep-new" && replace "$FILE.upkeep-new" "$FILE" && sync "${FILE%/*}" || finish failed "$FILE cannot be replaced"
	say what "$FILE written anew"
	finish ok
}

# Files and modes as they were before this run's repairs.
phase_repair_undo() {
	repair_open
	back=0
	while read -r kept path; do
		[ -n "$kept" ] || continue
		if [ -e "$KEPT/$kept" ]; then
			put_copy "$KEPT/$kept" "$path" || finish failed "$path cannot be put back from $KEPT/$kept"
		else
			rm -f -- "$path"
		fi
		back=$((back + 1))
	done <<FILES
$(cat "$KEPT/files" 2>/dev/null)
FILES
	while read -r mode owner path; do
		[ -n "$mode" ] || continue
		chown "$owner" -- "$path" && chmod "$mode" -- "$path" || finish failed "mode or owner of $path cannot be put back"
		back=$((back + 1))
	done <<RIGHTS
$(cat "$KEPT/rights" 2>/dev/null)
RIGHTS
	rm -f -- "$KEPT/files" "$KEPT/rights"
	say what "$back files put back as they were"
	finish ok
}
