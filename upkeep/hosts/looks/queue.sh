# One message through the site's queue and back, in milliseconds. $V_queue: redis, or a command that puts and takes $TOKEN and prints it.
# shellcheck disable=SC2154 # the host's variables are handed over by Upkeep
TOKEN=upkeep-$$-$(date +%s%N)
export TOKEN
began=$(date +%s%N)
case $V_queue in
redis)
    key=upkeep:probe:$TOKEN
    said=$(timeout 8 redis-cli rpush "$key" "$TOKEN" 2>&1) && said=$(timeout 8 redis-cli lpop "$key" 2>&1)
    ;;
*) said=$(timeout 8 sh -c "$V_queue" 2>&1) ;;
esac
ended=$(date +%s%N)
case $said in
*"$TOKEN"*)
    say queue.answer back '' "$V_queue"
    say queue.round_trip "$(((ended - began) / 1000000))" '' "$V_queue"
    ;;
*)
    said=$(printf '%s' "$said" | tr '\t\n' '  ')
    say queue.answer lost '' "the message did not come back: $said"
    say queue.round_trip '?' '' "the message did not come back: $said"
    ;;
esac
