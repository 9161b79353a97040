# The agent's files: what they hold (by hash), who may read and write them. Paths come one a line.
IFS='
'
set -f
# shellcheck disable=SC2086
set -- $CONFIG
# shellcheck disable=SC2153
present='' several='' rights='' clear='' binary='' hashed=0 files=0 opened=0 open='' certificates='' modes=$IFS last='' nameless='' spared=$BINARY
for path in "$@"; do
    [ ! -e "$path" ] || present="$present$path$IFS"
    case $BINARY in "$path" | "${path%/}"/*) spared='' ;; esac
done
fingerprint() { # KEY TEXT DETAIL
    sum=$(printf '%s\n' "$2" | cksum)
    say "$1" "${sum%% *}-${sum#* }" '' "$3"
}
# openssl hashes several times as fast as sha256sum where the processor helps.
if command -v openssl >/dev/null; then set -- openssl dgst -sha256 -r; else set -- sha256sum; fi
by_find="-printf$IFS= %m %u:%g %p\\n"
by_stat="-exec${IFS}stat$IFS-L$IFS-c$IFS= %a %U:%G %n$IFS{}$IFS+"
# One pass over all files: each one's rights ("= MODE OWNER PATH"), its hash, and the paths of those that hold a secret in the clear.
# shellcheck disable=SC2086,SC2153
listed() { # WHAT TELLS RIGHTS, WHAT HASHES...
    told=$1
    shift
    find -H $present $BINARY ! -type l $told -type f -exec "$@" {} + -size -256k ! -name '*.pem' ! -name '*.crt' ! -path "$spared" -exec grep -lEi '^[^#]*(password|passwd|secret|api_?key|token)[a-z_]*["'"'"']?[[:space:]]*[:=][[:space:]]*["'"'"']?[^[:space:]"'"'"'$/{][^[:space:]]{3,}' {} + 2>/dev/null
    [ -z "$SECRETS" ] || find -H $SECRETS ! -type l $told 2>/dev/null
}
lines=$(listed "$by_find" "$@" | sort -k 2)
# busybox has a find that cannot tell rights.
case $IFS$lines in *"$IFS= "*) ;; *) lines=$(listed "$by_stat" "$@" | sort -k 2) ;; esac
for line in $lines; do
    case $line in
    "$last") continue ;;
    '= '*) ;;
    /*) clear=$clear$line$IFS last=$line && continue ;;
    *)
        path=${line#* ?}
        if [ "$path" = "$BINARY" ]; then binary=${line%"${line#????????????????}"}; else several=$several${line%% *}' '$path$IFS hashed=$((hashed + 1)); fi
        continue
        ;;
    esac
    last=$line line=${line#= }
    rights=$rights$line$IFS files=$((files + 1)) mode=${line%% *} path=${line#* * }
    case ${line#* } in [0-9]*:* | *:[0-9]*" "*) nameless=1 ;; esac
    case $mode in
    [1357]??[2367]) ;;
    *[2367]) opened=$((opened + 1)) && [ "$opened" -gt 5 ] || open="$open$path " ;;
    esac
    case $path in *.pem | *.crt | *.cer) certificates=$certificates$path$IFS ;; esac
    case $IFS$SECRETS$IFS in *"$IFS$path$IFS"*) say secret.mode "$mode" "$path" && modes=$modes$path$IFS ;; esac
done
rights=${rights%"$IFS"}
# Where an owner has no name, stat and find call him differently: the fingerprint is of what stat says.
# shellcheck disable=SC2086
[ -z "$nameless" ] || rights=$(find -H $present $BINARY $SECRETS ! -type l -exec stat -L -c '%a %U:%G %n' {} + 2>/dev/null | sort -u)
[ -z "$binary" ] || say binary "$binary" '' "$BINARY"
if [ "$hashed" = 0 ]; then
    for key in content rights world_writable secrets; do say "config.$key" '?' '' "no file there: $CONFIG"; done
else
    fingerprint config.content "${several%"$IFS"}" "$hashed files"
    fingerprint config.rights "$rights" "$files files and folders"
    say config.world_writable "$opened" '' "$open"
    # shellcheck disable=SC2086
    set -- $clear
    say config.secrets $# '' "${1-} ${2-} ${3-} ${4-} ${5-}"
fi
[ -n "$SECRETS" ] || say secret.mode none '' 'the profile names no secret file'
for path in $SECRETS; do
    case $modes in *"$IFS$path$IFS"*) ;; *) say secret.mode '?' "$path" 'is not there' ;; esac
done
# shellcheck disable=SC2086
set -- $certificates
[ $# -eq 0 ] || now=${its_now:-$(date +%s)}
some=''
for path in "$@"; do
    until=$(openssl x509 -noout -enddate -in "$path" 2>/dev/null) || continue
    ends=$(date -d "${until#*=}" +%s 2>/dev/null) || continue
    left=$((ends - now))
    [ "$left" -ge 0 ] || left=$((left - 86399))
    say certificate.days "$((left / 86400))" "$path" && some=1
done
[ -n "$some" ] || say certificate.days none '' 'no certificate among the files of the agent'
if [ -d "$RELEASES" ]; then
    set +f && set -- "$RELEASES"/*/
    [ -d "$1" ] || set --
    say releases.kept $#
else
    say releases.kept none '' 'no folder of releases'
fi
