# Answers to the controller, and files that a power cut leaves either old or new, never half.
# shellcheck disable=SC2015,SC2034,SC2153,SC2154 # one library in several files; in 'a && b || finish', finish is meant for both

# busybox' shell prefers its own find and tar, which lack what a backup needs, to programs called without their path.
on_path() {
	folders=${PATH:-/usr/bin:/bin}:
	while [ -n "$folders" ]; do
		found=${folders%%:*}/$1 folders=${folders#*:}
		[ ! -x "$found" ] || return
	done
	found=$1
}

on_path find
FIND=$found
on_path tar
TAR=$found

find() { "$FIND" "$@"; }

tar() { "$TAR" "$@"; }

now() { date +%s; }

# What starts a process, as a subshell does, costs a host more than what it says: take_…, know_… and get answer in a variable.

pause() { sleep 0.2 2>/dev/null || sleep 1; }

digest() { sum_of=$(sha256sum) && printf '%s\n' "${sum_of%% *}"; }

# Where the processor can hash by itself, openssl does and many a sha256sum does not; the answer has to look like one.
on_path openssl
OPENSSL=$found

# The SHA-256 of a file is $sum_of, empty when it cannot be read. $2: its size in bytes where it is known; openssl takes long to start.
take_hash() {
	sum_of='' its_size=${2:-unknown}
	[ -f "$1" ] || return 0
	{
		[ ! -x "$OPENSSL" ] || [ "${#its_size}" -lt 7 ] || sum_of=$("$OPENSSL" dgst -sha256 -r <"$1")
		case $sum_of in [0-9a-f]*' *'*) sum_of=${sum_of%% *} ;; *) sum_of='' ;; esac
		[ "${#sum_of}" -eq 64 ] || { sum_of=$(sha256sum <"$1") && sum_of=${sum_of%% *}; } || sum_of=''
	} 2>/dev/null || true
}

# A file as it is in this boot is $stamp: any write, rename or new owner changes it. Empty where times have no fractions of a second.
take_stamp() {
	stamp=$(stat -c '%d %i %s %y %z' -- "$1" 2>/dev/null)
	case $stamp in
	*.*.*) take_boot && stamp="$stamp $its_boot" ;;
	*) stamp='' ;;
	esac
}

# What was hashed is not read again while its stamp stays (docs/adr/0011): $known. For the way back `take_hash` is asked, always.
know_hash() {
	take_stamp "$1"
	get "$U/hashes" "$stamp"
	known=$got
	[ -n "$stamp" ] && [ -n "$known" ] || know_as_stamped "$1"
}

# Read anew, and kept for the steps that follow.
know_fresh() {
	take_stamp "$1"
	know_as_stamped "$1"
}

know_as_stamped() {
	its_stamp=$stamp
	size=${stamp#* * }
	take_hash "$1" "${size%% *}"
	known=$sum_of
	[ -n "$its_stamp" ] && [ -n "$known" ] || return 0
	take_stamp "$1"
	[ "$stamp" != "$its_stamp" ] || remember_hash "$stamp" "$known"
}

# Only while a run owns the host: a look leaves nothing behind.
remember_hash() { [ ! -f "$U/lock" ] || { printf '%s=%s\n' "$1" "$2" >>"$U/hashes"; } 2>/dev/null || true; }

# A file's size in bytes is $size, 0 where there is none.
take_size() {
	size=0
	[ ! -s "$1" ] || size=$(stat -c %s -- "$1" 2>/dev/null) || size=0
}

offers() { "$1" --help 2>&1 | grep -q -e "$2"; }

# Old and small systems lack a flag or two; asked once per run, and by the dead-man switch again.
know_tools() {
	if [ "${ACTOR:-}" != guard ] && [ -f "$U/lock" ] && [ -f "$U/tools" ]; then
		read -r can_mv_t can_sync_f <"$U/tools"
		case $can_mv_t:$can_sync_f in yes:yes | yes:no | no:yes | no:no) return ;; esac
	fi
	ask_tools
	[ ! -f "$U/lock" ] || keep_tools
}

keep_tools() { { echo "$can_mv_t $can_sync_f" >"$U/tools"; } 2>/dev/null || true; }

ask_tools() {
	can_mv_t=no can_sync_f=no
	case $(mv --help 2>&1) in *--no-target-directory*) can_mv_t=yes ;; *) ! offers mv '-[a-z]*T' || can_mv_t=yes ;; esac
	case $(sync --help 2>&1) in *--file-system*) can_sync_f=yes ;; *) ! offers sync '-[a-z]*f' || can_sync_f=yes ;; esac
}

say() {
	case $2 in
	*[[:cntrl:]]*) printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\001-\037\177' ' ')" ;;
	*) printf '%s=%s\n' "$1" "$2" ;;
	esac
}

# The same as one line more of $text.
add() {
	case $2 in
	*[[:cntrl:]]*) text=${text:+$text$newline}$1=$(printf '%s' "$2" | tr '\001-\037\177' ' ') ;;
	*) text=${text:+$text$newline}$1=$2 ;;
	esac
}

newline='
'

# Ends the script with its one result: an outcome the controller knows how to read.
finish() {
	say result "$1"
	[ $# -lt 2 ] || say message "$2"
	echo end=ok
	exit 0
}

# Whether a key in such a file has this value.
same() { get "$1" "$2" && [ "$got" = "$3" ]; }

# The value of a key in a file of key=value lines is $got: a host's step asks dozens of times.
get() {
	got=''
	{ while IFS= read -r its_line || [ -n "$its_line" ]; do
		case $its_line in
		"$2="*)
			got=${its_line#*=}
			return 0
			;;
		esac
	done <"$1"; } 2>/dev/null || true
}

sync_tree() {
	if [ "$can_sync_f" = yes ]; then sync -f "$1"; else sync; fi
}

# rename(2): the new name replaces what was there, and never moves into a directory that a link points to.
replace() {
	if [ "$can_mv_t" = yes ]; then
		mv -f -T -- "$1" "$2"
	elif [ -d "$2" ]; then
		return 1
	else
		mv -f -- "$1" "$2"
	fi
}

# A text becomes the file, all of it or not at all.
put() {
	umask 077
	printf '%s\n' "$2" 2>/dev/null >"$1.new"
	written=$?
	umask 022
	[ "$written" -eq 0 ] && sync "$1.new" && replace "$1.new" "$1" && sync "${1%/*}"
}

# The same for two files of one folder, the first of them first.
put_both() {
	umask 077
	{ printf '%s\n' "$2" >"$1.new" && printf '%s\n' "$4" >"$3.new"; } 2>/dev/null
	written=$?
	umask 022
	[ "$written" -eq 0 ] && sync "$1.new" "$3.new" && replace "$1.new" "$1" && sync "${1%/*}" && replace "$3.new" "$3" && sync "${3%/*}"
}

# Whatever has that name goes; hardly ever is there anything.
clear_name() { { [ ! -e "$1" ] && [ ! -L "$1" ]; } || rm -f -- "$1"; }

# A symbolic link replaces what has that name, in one step.
put_link() {
	clear_name "$2.upkeep-new" && ln -s -- "$1" "$2.upkeep-new" && replace "$2.upkeep-new" "$2" && sync "${2%/*}"
}

# A copy takes the name, with mode and owner as they were; where the file system can, it shares the blocks.
put_copy() {
	clear_name "$2.upkeep-new"
	copy_of "$1" "$2.upkeep-new" && sync "$2.upkeep-new" && replace "$2.upkeep-new" "$2" && sync "${2%/*}"
}

copy_of() { cp -p --reflink=auto -- "$1" "$2" 2>/dev/null || cp -p -- "$1" "$2"; }

# A file takes the name of another: a second name for it, or a copy on another file system. $3: a folder above whose folder is new.
put_file() {
	clear_name "$2.upkeep-new"
	ln -- "$1" "$2.upkeep-new" 2>/dev/null || cp -p -- "$1" "$2.upkeep-new" || return 1
	sync "$2.upkeep-new" && replace "$2.upkeep-new" "$2" && sync "${2%/*}" ${3:+"$3"}
}
