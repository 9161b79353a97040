# A release comes to the host, is hashed here, and is unpacked beside the old version without being trusted.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

part() { printf '%s/incoming/%s.part' "$U" "$SHA256"; }

parcel() { printf '%s/incoming/%s.tar.gz' "$U" "$SHA256"; }

# How much of the archive is here already, in bytes.
phase_partial_size() {
	here=$(size_of "$(part)")
	[ ! -f "$(parcel)" ] || here=$SIZE
	[ "$here" -le "$SIZE" ] || here=0
	say size "$here"
	finish ok
}

# The archive is taken in by one script at a time; the host itself stays free for others while bytes arrive.
begin_delivery() {
	open_writer
	own_lock
	if [ -f "$(parcel)" ]; then
		take_hash "$(parcel)"
		[ "$sum_of" != "$SHA256" ] || finish ok
		rm -f -- "$(parcel)"
	fi
	[ "$(size_of "$(part)")" -le "$SIZE" ] || rm -f -- "$(part)"
	exec 8>>"$(part)"
	flock -n 8 || finish busy "the archive is still being taken in by another script"
	exec 9>&-
}

# Size and SHA-256 as the signed manifest says, or nothing of it stays.
end_delivery() {
	sync "$(part)" || finish failed "the archive cannot be written"
	arrived=$(size_of "$(part)")
	say size "$arrived"
	[ "$arrived" -ge "$SIZE" ] || finish partial
	unmoved=$(stat -c '%d %i %s %y' -- "$(part)")
	take_hash "$(part)"
	found=$sum_of
	if [ "$arrived" -ne "$SIZE" ] || [ "$found" != "$SHA256" ]; then
		rm -f -- "$(part)"
		say sha256 "$found"
		finish mismatch
	fi
	exec 8>&-
	open_writer
	own_lock
	replace "$(part)" "$(parcel)" && sync "$U/incoming" || finish failed "the archive cannot be kept"
	take_stamp "$(parcel)"
	case $stamp in "$unmoved "*) remember_hash "$stamp" "$SHA256" ;; esac
	finish ok
}

phase_deliver() {
	begin_delivery
	here=$(size_of "$(part)")
	if [ "$here" -lt "$OFFSET" ]; then
		say size "$here"
		finish partial
	fi
	truncate -s "$OFFSET" "$(part)" || finish failed "the partial archive cannot be cut to $OFFSET bytes"
	head -c $((SIZE - OFFSET + 1)) >&8 || finish failed "the archive cannot be written"
	end_delivery
}

# Pull: no more than the expected size can be written, however much a server sends.
download() (
	ulimit -f $((SIZE / 512 + 2))
	here=$(size_of "$(part)")
	if command -v curl >/dev/null; then
		[ "$here" -eq 0 ] || set -- -C "$here"
		[ "$RATE" = 0 ] || set -- "$@" --limit-rate "$RATE"
		# Address and headers may hold secrets: they go through standard input, never into the list of processes.
		printf '%s\n' "$CURL_CONFIG" | curl -q -K - -fsSL --connect-timeout 20 --max-time "$DEADLINE" \
			--speed-limit "$SLOWEST" --speed-time 30 "$@" -o "$(part)"
	elif command -v wget >/dev/null; then
		(umask 077 && printf '%s\n' "$WGET_CONFIG" >"$U/incoming/wgetrc")
		set -- --config="$U/incoming/wgetrc"
		[ "$RATE" = 0 ] || set -- "$@" --limit-rate="$RATE"
		printf '%s\n' "$URL" | timeout "$DEADLINE" wget "$@" -nv -c --tries=1 --timeout=30 -O "$(part)" -i -
		code=$?
		rm -f "$U/incoming/wgetrc"
		return "$code"
	else
		echo "neither curl nor wget is installed"
		return 127
	fi
) 2>&1

phase_fetch() {
	begin_delivery
	started_at=$(size_of "$(part)")
	message=''
	[ "$started_at" -eq "$SIZE" ] || message=$(download) || failed=$?
	# The server's file may have changed since the part was taken, or it cannot resume: once more from the first byte.
	if [ "$started_at" -gt 0 ] && [ "$(size_of "$(part)")" -ge "$SIZE" ] && take_hash "$(part)" && [ "$sum_of" != "$SHA256" ] || [ "${failed:-0}" = 33 ]; then
		: >"$(part)"
		failed=0
		message=$(download) || failed=$?
	fi
	if [ "${failed:-0}" != 0 ] && [ "$(size_of "$(part)")" -lt "$SIZE" ]; then
		say size "$(size_of "$(part)")"
		say exit_code "$failed"
		finish fetch-failed "$(printf '%s' "$message" | tail -c 400)"
	fi
	end_delivery
}

release_dir() { printf '%s/%s-%.8s' "$RELEASES" "$TO" "$SHA256"; }

bad_archive() { finish bad-archive "$1: $(printf '%.200s' "$2")"; }

# A name that leaves the folder it is unpacked in.
leaves() {
	case $1 in
	/* | .. | ../* | */../* | */..) return 0 ;;
	esac
	return 1
}

# Every member by name and type, before anything is unpacked; finds the one that is the agent's binary.
judge_members() {
	tar -tf "$1" --quoting-style=escape >"$2.names" 2>"$2.err" && tar -tvf "$1" --numeric-owner --quoting-style=escape >"$2.lines" 2>"$2.err" ||
		bad_archive 'not a whole tar.gz' "$(tail -n 1 "$2.err")"
	[ "$(wc -l <"$2.names")" -eq "$(wc -l <"$2.lines")" ] || bad_archive 'not listed alike twice' "$1"
	member='' matches=0
	while IFS= read -r name <&3 && IFS= read -r line <&4; do
		case $name in *\\*) bad_archive 'a name with a backslash or control character' "$name" ;; esac
		! leaves "$name" || bad_archive 'a name outside the release' "$name"
		case $line in
		d*) ;;
		-*) match_member "${name#./}" ;;
		l*) case ${line#*"$name -> "} in /*) bad_archive 'a link out of the release' "$name" ;; esac ;;
		h*) ! leaves "${line#*"$name link to "}" || bad_archive 'a hard link out of the release' "$name" ;;
		*) bad_archive 'neither file, folder nor link' "$name" ;;
		esac
	done 3<"$2.names" 4<"$2.lines"
	[ "$matches" -eq 1 ] || bad_archive "$matches files match" "$MEMBER"
}

match_member() {
	# shellcheck disable=SC2254 # a glob on purpose
	case $1 in
	$MEMBER) member=$1 matches=$((matches + 1)) ;;
	esac
}

# What was unpacked: no link leads out, nothing but files, folders and links, no special rights.
judge_unpacked() {
	inside=$(cd -P -- "$1" && pwd)
	odd=$(find "$1" ! -type f ! -type d ! -type l | head -n 1)
	[ -z "$odd" ] || bad_archive 'neither file, folder nor link' "$odd"
	find "$1" -type l | while IFS= read -r link; do
		case $(readlink -f -- "$link") in
		"$inside"/*) ;;
		*) printf '%s\n' "$link" && break ;;
		esac
	done >"$2"
	[ ! -s "$2" ] || bad_archive 'a link out of the release' "$(head -n 1 "$2")"
	find "$1" -type d -exec chmod 0755 {} + && find "$1" -type f -exec chmod u-s,g-s,o-t,go-w,u+rw,go+r {} + && chmod 0755 "$1/$member"
}

release_record() {
	say archive "$SHA256"
	say member "$member"
	know_hash "$1/$member" && say sha256 "$known"
}

# The release lies unpacked and unharmed where it should.
release_whole() {
	get "$1/.upkeep-release" archive
	[ "$got" = "$SHA256" ] || return 1
	get "$1/.upkeep-release" member
	member=$got
	get "$1/.upkeep-release" sha256
	[ -n "$member" ] && take_hash "$1/$member" && [ "$sum_of" = "$got" ]
}

unpack_release() {
	know_hash "$(parcel)"
	[ "$known" = "$SHA256" ] || finish mismatch "the archive on the host is missing or not the one that was delivered"
	fresh=$1.new
	rm -rf -- "$fresh"
	plain=$U/incoming/members.tar
	gzip -dc <"$(parcel)" >"$plain" 2>"$U/incoming/members.err" || bad_archive 'not a whole tar.gz' "$(tail -n 1 "$U/incoming/members.err")"
	judge_members "$plain" "$U/incoming/members"
	(umask 022 && mkdir -p "$fresh" && tar -xf "$plain" -C "$fresh" --no-same-owner --no-same-permissions) 2>"$U/incoming/members.err" ||
		bad_archive 'cannot be unpacked' "$(tail -n 1 "$U/incoming/members.err")"
	judge_unpacked "$fresh" "$U/incoming/members.odd" || finish failed "$fresh cannot be written"
	rm -f "$U"/incoming/members.*
	release_record "$fresh" >"$fresh/.upkeep-release" || finish failed "$fresh cannot be written"
	if [ -e "$1" ]; then
		case $(readlink -f -- "$BINARY") in "$1"/*) finish drifted "the files in $1, which are in use, were changed by hand" ;; esac
		rm -rf -- "$1"
	fi
	sync_tree "$fresh" && replace "$fresh" "$1" && sync "$RELEASES" || finish failed "$1 cannot be written"
}

# The new binary judges the present configuration. What it prints must not fill the disk: 16 MiB, in blocks of 512 bytes.
check_config() {
	[ -n "$CONFIG_CHECK" ] || return 0
	CANDIDATE=$1
	(cd / && umask 022 && ulimit -f 32768 && eval "$CONFIG_CHECK") >"$U/incoming/config-check.log" 2>&1 </dev/null 9>&-
	code=$?
	[ "$code" -eq 0 ] && return
	say exit_code "$code"
	finish config-rejected "$(tail -c 600 "$U/incoming/config-check.log")"
}

phase_stage() {
	open_writer
	own_lock
	if unfinished && [ "$j_run" != "$RUN" ]; then
		tell_journal
		finish unfinished
	fi
	place=$(release_dir)
	release_whole "$place" || unpack_release "$place"
	check_config "$place/$member"
	say target "$place/$member"
	if [ "$j_run" = "$RUN" ]; then
		case $j_state in prepared | staged) journal_staged "$place/$member" ;; esac
	fi
	finish ok
}

journal_staged() {
	j_to_target=$1 j_fence=$FENCE
	get "$place/.upkeep-release" sha256
	text=$(say target "$1" && say sha256 "$got") && put "$j_backup/candidate" "$text" || finish failed "$j_backup cannot be written"
	journal_write staged "$REASON" controller
}
