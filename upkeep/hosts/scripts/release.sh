# A release comes to the host, is hashed here, and is unpacked beside the old version without being trusted.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

# Where the archive is taken in is $part, and $parcel where it lies once it is whole.
name_parcel() { part=$U/incoming/$SHA256.part parcel=$U/incoming/$SHA256.tar.gz; }

# How much of the archive is here already, in bytes.
phase_partial_size() {
	name_parcel
	take_size "$part"
	[ ! -f "$parcel" ] || size=$SIZE
	[ "$size" -le "$SIZE" ] || size=0
	say size "$size"
	finish ok
}

# The archive is taken in by one script at a time; the host itself stays free for others while bytes arrive.
begin_delivery() {
	open_writer
	own_lock
	name_parcel
	if [ -f "$parcel" ]; then
		take_hash "$parcel"
		[ "$sum_of" != "$SHA256" ] || finish ok
		rm -f -- "$parcel"
	fi
	take_size "$part"
	[ "$size" -le "$SIZE" ] || rm -f -- "$part"
	exec 8>>"$part"
	flock -n 8 || finish busy "the archive is still being taken in by another script"
	exec 9>&-
}

# Size and SHA-256 as the signed manifest says, or nothing of it stays.
end_delivery() {
	sync "$part" || finish failed "the archive cannot be written"
	unmoved=$(stat -c '%d %i %s %y' -- "$part") || finish failed "the archive cannot be read"
	arrived=${unmoved#* * }
	arrived=${arrived%% *}
	say size "$arrived"
	[ "$arrived" -ge "$SIZE" ] || finish partial
	take_hash "$part"
	found=$sum_of
	if [ "$arrived" -ne "$SIZE" ] || [ "$found" != "$SHA256" ]; then
		rm -f -- "$part"
		say sha256 "$found"
		finish mismatch
	fi
	exec 8>&-
	open_writer
	own_lock
	replace "$part" "$parcel" && sync "$U/incoming" || finish failed "the archive cannot be kept"
	take_stamp "$parcel"
	case $stamp in "$unmoved "*) remember_hash "$stamp" "$SHA256" ;; esac
	finish ok
}

# Hardly more bytes than that, from standard input: whole blocks cost a host half of what head does.
take_in() {
	if dd count=0 iflag=fullblock </dev/null 2>/dev/null; then
		dd bs=65536 count=$((($1 + 65535) / 65536)) iflag=fullblock 2>/dev/null
	else
		head -c "$1"
	fi
}

phase_deliver() {
	begin_delivery
	take_size "$part"
	if [ "$size" -lt "$OFFSET" ]; then
		say size "$size"
		finish partial
	fi
	[ "$size" -eq "$OFFSET" ] || truncate -s "$OFFSET" "$part" || finish failed "the partial archive cannot be cut to $OFFSET bytes"
	take_in $((SIZE - OFFSET + 1)) >&8 || finish failed "the archive cannot be written"
	end_delivery
}

# Pull: no more than the expected size can be written, however much a server sends.
download() (
	ulimit -f $((SIZE / 512 + 2))
	take_size "$part"
	if command -v curl >/dev/null; then
		[ "$size" -eq 0 ] || set -- -C "$size"
		[ "$RATE" = 0 ] || set -- "$@" --limit-rate "$RATE"
		# Address and headers may hold secrets: they go through standard input, never into the list of processes.
		printf '%s\n' "$CURL_CONFIG" | curl -q -K - -fsSL --connect-timeout 20 --max-time "$DEADLINE" \
			--speed-limit "$SLOWEST" --speed-time 30 "$@" -o "$part"
	elif command -v wget >/dev/null; then
		(umask 077 && printf '%s\n' "$WGET_CONFIG" >"$U/incoming/wgetrc")
		set -- --config="$U/incoming/wgetrc"
		[ "$RATE" = 0 ] || set -- "$@" --limit-rate="$RATE"
		printf '%s\n' "$URL" | timeout "$DEADLINE" wget "$@" -nv -c --tries=1 --timeout=30 -O "$part" -i -
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
	take_size "$part"
	started_at=$size message=''
	[ "$started_at" -eq "$SIZE" ] || message=$(download) || failed=$?
	take_size "$part"
	# The server's file may have changed since the part was taken, or it cannot resume: once more from the first byte.
	if [ "$started_at" -gt 0 ] && [ "$size" -ge "$SIZE" ] && take_hash "$part" && [ "$sum_of" != "$SHA256" ] || [ "${failed:-0}" = 33 ]; then
		: >"$part"
		failed=0
		message=$(download) || failed=$?
	fi
	take_size "$part"
	if [ "${failed:-0}" != 0 ] && [ "$size" -lt "$SIZE" ]; then
		say size "$size"
		say exit_code "$failed"
		finish fetch-failed "$(printf '%s' "$message" | tail -c 400)"
	fi
	end_delivery
}

# Where the release lies unpacked is $place.
name_release() { place=$RELEASES/$TO-${SHA256%"${SHA256#????????}"}; }

bad_archive() { finish bad-archive "$1: $(printf '%.200s' "$2")"; }

# A name that leaves the folder it is unpacked in.
leaves() {
	case $1 in
	/* | .. | ../* | */../* | */..) return 0 ;;
	esac
	return 1
}

# Every member by name and type, before anything is unpacked; finds the one that is the agent's binary. What tar prints is read from
# the front, and only where each part looks as it has to: a strange time could otherwise push a name out of its place.
judge_members() {
	tar -tvf "$1" --numeric-owner --quoting-style=escape >"$2.lines" 2>"$2.err" || bad_archive 'not a whole tar.gz' "$(tail -n 1 "$2.err")"
	member='' matches=0 member_number=0 named=no
	while IFS= read -r line; do
		member_number=$((member_number + 1))
		take_member "$line"
		case $line in
		l*) take_linked "$name" ' -> ' "$@" ;;
		h*) take_linked "$name" ' link to ' "$@" ;;
		esac
		case $name in *\\*) bad_archive 'a name with a backslash or control character' "$name" ;; esac
		! leaves "$name" || bad_archive 'a name outside the release' "$name"
		case $line in
		d*) ;;
		-*) match_member "${name#./}" ;;
		l*) case $linked in /*) bad_archive 'a link out of the release' "$name" ;; esac ;;
		h*) ! leaves "$linked" || bad_archive 'a hard link out of the release' "$name" ;;
		*) bad_archive 'neither file, folder nor link' "$name" ;;
		esac
	done <"$2.lines"
	[ "$matches" -eq 1 ] || bad_archive "$matches files match" "$MEMBER"
}

# Of a line '-rw-r--r-- 0/0  12 2026-11-21 10:00 name' the last part is $name.
take_member() {
	name=${1#* }
	for its_part in owner size; do
		name=${name#"${name%%[! ]*}"}
		name=${name#* }
	done
	name=${name#"${name%%[! ]*}"}
	case $name in
	[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' '[0-9][0-9]:[0-9][0-9]' '?*) name=${name#????????????????' '} ;;
	*) bad_archive 'a member that cannot be read' "$1" ;;
	esac
}

# Of a link's line, $1 to $2 between them, name and target: $name and $linked. Where they could be told apart in two ways, tar is asked again.
take_linked() {
	name=${1%%"$2"*}
	case $1 in
	*"$2"*"$2"*)
		[ "$named" = yes ] || tar -tf "$3" --quoting-style=escape >"$4.names" 2>"$4.err" || bad_archive 'not a whole tar.gz' "$(tail -n 1 "$4.err")"
		named=yes
		name=$(sed -n "${member_number}p" "$4.names")
		;;
	esac
	case $1 in
	"$name$2"*) linked=${1#"$name$2"} ;;
	*) bad_archive 'a link that cannot be read' "$1" ;;
	esac
}

match_member() {
	# shellcheck disable=SC2254 # a glob on purpose
	case $1 in
	$MEMBER) member=$1 matches=$((matches + 1)) ;;
	esac
}

# What was unpacked: no link leads out, nothing but files, folders and links, no special rights.
judge_unpacked() {
	"$FIND" "$1" -type d -exec chmod 0755 {} + -o -type f -exec chmod u-s,g-s,o-t,go-w,u+rw,go+r {} + -o -printf '%y %p\n' >"$2" || return 1
	[ ! -s "$2" ] || inside=$(cd -P -- "$1" && pwd)
	while IFS= read -r line; do
		odd=${line#* }
		case $line in 'l '*) ;; *) bad_archive 'neither file, folder nor link' "$odd" ;; esac
		case $(readlink -f -- "$odd") in "$inside"/*) ;; *) bad_archive 'a link out of the release' "$odd" ;; esac
	done <"$2"
	chmod 0755 "$1/$member"
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
	name_parcel
	know_hash "$parcel"
	[ "$known" = "$SHA256" ] || finish mismatch "the archive on the host is missing or not the one that was delivered"
	fresh=$1.new
	{ [ ! -e "$fresh" ] && [ ! -L "$fresh" ]; } || rm -rf -- "$fresh"
	plain=$U/incoming/members.tar
	gzip -dc <"$parcel" >"$plain" 2>"$U/incoming/members.err" || bad_archive 'not a whole tar.gz' "$(tail -n 1 "$U/incoming/members.err")"
	judge_members "$plain" "$U/incoming/members"
	{ umask 022 && mkdir -p "$fresh" && tar -xf "$plain" -C "$fresh" --no-same-owner --no-same-permissions; } 2>"$U/incoming/members.err" ||
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
	name_release
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
	text=''
	add target "$1"
	add sha256 "$got"
	put "$j_backup/candidate" "$text" || finish failed "$j_backup cannot be written"
	journal_write staged "$REASON" controller
}
