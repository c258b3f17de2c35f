#!/bin/bash
# The upgrade as an operator would script it: the same Docker and nginx calls in the same order, with the same announce,
# health gate and wait for old workers. No journal, no locks, no undo, and no proof beyond "the old workers are gone".
# swap_by_hand.sh REVISION IP..., one for each replica, with INSTANCE NETWORK IMAGE NGINX CONF INCLUDE FLAG PID_FILE STATUS ANNOUNCE_MS
# WAIT_SECONDS (at most, for old workers) POLITE BOOT. ANNOUNCE_MS and WAIT_SECONDS of 0 leave that step out.
set -eu
revision=$1
shift
old=$(docker ps -q --filter "label=conductor.instance=$INSTANCE")
image=$(docker image inspect --format '{{.Id}}' "$IMAGE:$revision")

start_and_gate() {
    docker run -d --network "$NETWORK" --ip "$1" --label "conductor.instance=$INSTANCE" -e SERVICE=web -e "POLITE=$POLITE" -e "BOOT=$BOOT" "$image" >/dev/null
    local passed=0
    while [ $passed -lt 2 ]; do
        if curl -fs -o /dev/null -m 5 "http://$1:8080/health"; then passed=$((passed + 1)); else passed=0; fi
        [ $passed -eq 2 ] || sleep 0.05
    done
}
pids=
for ip in "$@"; do start_and_gate "$ip" & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done

{
    echo "upstream web {"
    for ip in "$@"; do echo "    server $ip:8080 max_fails=0;"; done
    echo "    keepalive 64; keepalive_timeout 1s; }"
} >"$INCLUDE/.web.new"
mv "$INCLUDE/.web.new" "$INCLUDE/web.conf"
"$NGINX" -t -q -c "$CONF"

master=$(cat "$PID_FILE")
workers=$(pgrep -P "$master")
if [ "$ANNOUNCE_MS" -gt 0 ]; then
    touch "$FLAG"
    sleep 0.1
    until=$(($(date +%s%3N) + ANNOUNCE_MS - 100))
    while [ "$(date +%s%3N)" -lt "$until" ] && ! curl -s "$STATUS" | grep -q 'Waiting: 0'; do sleep 0.01; done
fi
"$NGINX" -s reload -c "$CONF"
until=$((SECONDS + WAIT_SECONDS))
for worker in $workers; do
    while [ $SECONDS -lt $until ] && kill -0 "$worker" 2>/dev/null; do sleep 0.01; done
done
rm -f "$FLAG"

for container in $old; do (docker stop -t 3 "$container" && docker rm "$container") >/dev/null & done
wait
