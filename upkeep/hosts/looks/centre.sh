# The way from this host to the control centre, layer by layer; each step says what it saw.
[ -n "$CENTRE" ] || { say centre.name none '' 'the profile names no control centre' && exit 0; }
address='' open=''
case $CENTRE in
*[!0-9.]*) case $CENTRE in *:*) address=$CENTRE ;; esac ;;
*) address=$CENTRE ;;
esac
if [ -n "$address" ]; then
    say centre.name none '' "$CENTRE is an address, no name"
elif ! command -v getent >/dev/null; then
    say centre.name '?' '' 'the host has no getent'
elif found=$(timeout 6 getent ahosts "$CENTRE"); then
    address=${found%% *}
    say centre.name resolves '' "$CENTRE is $address"
else
    say centre.name unresolved '' "getent finds no address for $CENTRE"
fi
device=''
if [ -z "$address" ]; then
    for key in route port answer mtu; do say "centre.$key" '?' '' 'without an address it cannot be asked'; done
else
    if ! command -v ip >/dev/null; then
        say centre.route '?' '' 'the host has no ip (iproute2)'
    elif route=$(ip route get "$address" 2>&1); then
        device=$(printf '%s' "$route" | sed -n 's/.* dev \([^ ]*\).*/\1/p;1q')
        say centre.route there '' "$(printf '%s' "$route" | head -n 1)"
    else
        say centre.route missing '' "$(printf '%s' "$route" | head -n 1)"
    fi
    if command -v bash >/dev/null; then
        # shellcheck disable=SC2016
        said=$(timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$address" "$CENTRE_PORT" 2>&1)
        code=$?
    elif command -v nc >/dev/null; then
        said=$(nc -z -w 4 "$address" "$CENTRE_PORT" 2>&1)
        code=$?
    else
        code=127 said=''
    fi
    case $code:$said in
    0:*) open=1 && say centre.port open '' "$address:$CENTRE_PORT takes connections" ;;
    127:*) say centre.port '?' '' 'the host has neither bash nor nc' ;;
    124:* | *"timed out"*) say centre.port silent '' "$address:$CENTRE_PORT does not answer within 4 s: packets are dropped" ;;
    *efused*) say centre.port refused '' "$address:$CENTRE_PORT refuses connections" ;;
    *) say centre.port unreachable '' "$(printf '%s' "$said" | tail -n 1 | sed 's/.*: //')" ;;
    esac
    if [ "$device" = lo ] || [ -z "$device" ]; then
        say centre.mtu none '' 'the way does not leave this machine, or it cannot be told'
    elif ! command -v ping >/dev/null; then
        say centre.mtu '?' '' 'the host has no ping (iputils-ping)'
    elif ! ping -n -c 1 -W 1 -s 16 "$address" >/dev/null 2>&1; then
        say centre.mtu '?' '' 'the control centre answers no ping'
    else
        mtu=1500
        [ ! -r "$R/sys/class/net/$device/mtu" ] || read -r mtu <"$R/sys/class/net/$device/mtu"
        if said=$(ping -n -c 1 -W 1 -M 'do' -s $((mtu - 28)) "$address" 2>&1); then
            say centre.mtu whole '' "packets of $mtu bytes arrive"
        else
            for size in 1400 1300 1200 1000 576; do
                [ "$size" -lt "$mtu" ] || continue
                ! ping -n -c 1 -W 1 -M 'do' -s $((size - 28)) "$address" >/dev/null 2>&1 || break
            done
            case $said in
            *"mtu"* | *"too long"*) say centre.mtu told '' "the way takes less than $mtu bytes and says so" ;;
            *) say centre.mtu 'black hole' '' "packets of $mtu bytes get lost without a word, $size bytes arrive" ;;
            esac
        fi
    fi
fi
if rules=$( (nft list ruleset || exit 1) 2>/dev/null) || rules=$(iptables -S OUTPUT 2>/dev/null); then
    bad=$(printf '%s\n' "$rules" | grep -iE '(drop|reject)' | grep -E "dport[^0-9]*$CENTRE_PORT([^0-9]|\$)|${address:-no address}([^0-9]|\$)|policy drop|-P OUTPUT DROP" | grep -viE 'hook (input|forward)' | head -n 1)
    if [ -n "$bad" ]; then say centre.firewall closed '' "$(printf '%s' "$bad" | sed 's/^[[:space:]]*//')"; else say centre.firewall open '' 'no rule of this host is in the way'; fi
else
    say centre.firewall none '' 'this host has no firewall of its own, or it cannot be read'
fi
proxy=''
if shown MainPID && [ -r "$R/proc/${shown:-0}/environ" ]; then
    proxy=$(tr '\0' '\n' <"$R/proc/$shown/environ" | sed -n 's/^[hH][tT][tT][pP][sS]_[pP][rR][oO][xX][yY]=//p' | tail -n 1)
fi
proxy=${proxy:-${https_proxy:-${HTTPS_PROXY:-}}}
if [ -z "$proxy" ]; then
    say centre.proxy none '' 'the agent uses no proxy'
elif ! command -v curl >/dev/null; then
    say centre.proxy '?' '' 'the host has no curl'
else
    said=$(curl -sk -m 6 -o /dev/null -x "$proxy" -w '%{http_connect}' "https://$CENTRE:$CENTRE_PORT/" 2>/dev/null)
    code=$?
    case $said:$code in
    200:*) say centre.proxy passes '' 'the proxy lets through' ;;
    407:*) say centre.proxy 'demands a login' '' 'the proxy answers 407' ;;
    000:5 | 000:7 | 000:28) say centre.proxy unreachable '' "the proxy does not answer (curl $code)" ;;
    *) say centre.proxy refuses '' "the proxy answers $said (curl $code)" ;;
    esac
fi
if [ -n "$open" ] && command -v curl >/dev/null; then
    head=$(curl -sk -m 6 --noproxy '*' -D - -o /dev/null "https://$CENTRE:$CENTRE_PORT/health" 2>/dev/null)
    code=$?
    status=$(printf '%s' "$head" | sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p')
    if [ -n "$status" ]; then say centre.answer "$status" '' "https://$CENTRE:$CENTRE_PORT/health"; else say centre.answer none-came '' "the connection stands, but no answer came (curl $code)"; fi
    there=$(printf '%s' "$head" | sed -n 's/^[Dd]ate: \(.*[A-Z]\).*$/\1/p')
    [ -n "$there" ] && there=$(date -d "$there" +%s 2>/dev/null) && {
        off=$(($(date +%s) - there))
        say centre.clock "${off#-}" '' "seconds between this host and the control centre"
    }
elif [ -n "$open" ]; then
    say centre.answer '?' '' 'the host has no curl'
fi
# shellcheck disable=SC2086
set -- $CONFIG
if find "$@" -type f -exec grep -lF "$CENTRE:$CENTRE_PORT" {} + 2>/dev/null | grep -q .; then
    say centre.configured here '' "$CENTRE:$CENTRE_PORT"
elif said=$(find "$@" -type f -exec grep -hE '^[^#]*(server|endpoint|control_?centre|url)[a-z_]*["]?[[:space:]]*[:=]' {} + 2>/dev/null | head -n 1) && [ -n "$said" ]; then
    say centre.configured elsewhere '' "the agent's configuration says: $said; the profile says $CENTRE:$CENTRE_PORT"
else
    say centre.configured '?' '' 'the configuration names no control centre'
fi
