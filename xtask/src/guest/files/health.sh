#!/bin/sh
# Written by docker-to-linux: asks again and again whether the container is well, as engines do.
#
#   health INTERVAL TIMEOUT START_PERIOD START_INTERVAL RETRIES     in seconds
#
# /run/container/health says starting, healthy or unhealthy, and health.log what the last check said.
interval=$1 timeout=$2 start_period=$3 start_interval=$4 retries=$5
dir=/run/container
seen='' state='' failures=0 begun=0

# Whole seconds since the machine was started; the time of day may be set at any moment.
now() {
    read -r seconds _ </proc/uptime
    echo "${seconds%.*}"
}

become() {
    [ "$state" != "$1" ] || return 0
    state=$1
    echo "$state" >"$dir/health.new" && mv "$dir/health.new" "$dir/health"
    [ "$state" = starting ] || logger -t container "the container is $state"
}

while :; do
    main=$(cat "$dir/main" 2>/dev/null)
    if [ -z "$main" ]; then
        seen=''
        sleep 1
        continue
    fi
    if [ "$main" != "$seen" ]; then
        seen=$main failures=0 begun=$(now) state=''
        become starting
    fi
    early=''
    [ "$state" != starting ] || [ $(($(now) - begun)) -ge "$start_period" ] || early=yes
    if [ -n "$early" ]; then sleep "$start_interval"; else sleep "$interval"; fi
    if timeout -k 1 "$timeout" /usr/lib/docker-to-linux/healthcheck >"$dir/health.log" 2>&1; then
        failures=0
        become healthy
    elif [ -z "$early" ]; then
        failures=$((failures + 1))
        [ "$failures" -lt "$retries" ] || become unhealthy
    fi
done
