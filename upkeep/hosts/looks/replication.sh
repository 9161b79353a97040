# How far a replica is behind, in seconds. $V_replication: postgresql, mysql, redis, or a command that prints seconds.
# shellcheck disable=SC2154 # the host's variables are handed over by Upkeep
number() { case $1 in '' | *[!0-9.]*) return 1 ;; esac; }
case $V_replication in
postgresql)
    said=$(timeout 8 psql -XAtq -c "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'primary' WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN '0' ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())::int::text END" 2>&1)
    if [ "$said" = primary ]; then said=none why='this server is no replica'; else why=$said; fi
    ;;
mysql)
    told=$(timeout 8 mysql -NBe 'SHOW REPLICA STATUS\G' 2>/dev/null || timeout 8 mysql -NBe 'SHOW SLAVE STATUS\G' 2>&1)
    said=none why='this server is no replica'
    case $told in
    *Seconds_Behind_*)
        said=${told#*Seconds_Behind_}
        said=${said#*: }
        said=${said%%"
"*}
        why="replication does not run: Seconds_Behind is $said"
        ;;
    *ERROR*) said='?' why=$told ;;
    esac
    ;;
redis)
    told=$(timeout 8 redis-cli info replication 2>&1 | tr -d '\r')
    case $told in
    *role:master*) said=none why='this server is no replica' ;;
    *master_link_status:up*)
        said=${told#*master_last_io_seconds_ago:}
        said=${said%%"
"*}
        why=$said
        ;;
    *) said='?' why="no link to the master: $told" ;;
    esac
    ;;
*)
    said=$(timeout 8 sh -c "$V_replication" 2>&1)
    why=$said
    ;;
esac
if [ "$said" = none ]; then
    say replication.lag none '' "$why"
elif number "$said"; then
    say replication.lag "$said" '' "$V_replication"
else
    why=$(printf '%s' "$why" | tr '\t\n' '  ')
    say replication.lag '?' '' "the lag cannot be told: $why"
fi
