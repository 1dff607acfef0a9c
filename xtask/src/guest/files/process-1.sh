#!/bin/sh
# Written by docker-to-linux: asks a command that is process 1 of a PID namespace to end.
#
#   process-1 run COMMAND...
#   process-1 PID SIGNAL SECONDS
#
# "run" starts the command, unless the service is being stopped: a supervisor that sees the command
# end before it is told to stop would start a second one, which nobody ends.
#
# PID is the service's main process, an ancestor of the command in the machine's own namespace.
# The command gets the signal by its number. What is left after the seconds is killed, and the
# whole namespace with it.
if [ "$1" = run ]; then
    shift
    [ ! -e /run/container/stopping ] || exec sleep 60
    exec "$@"
fi
main=$1 signal=$2 seconds=$3
[ -n "$main" ] && [ -d "/proc/$main" ] || exit 0
own=$(readlink /proc/self/ns/pid)

# child PID: the first child of a process.
child() {
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" 2>/dev/null || continue
        # The name is in parentheses and may hold anything.
        # shellcheck disable=SC2086 # the rest are numbers and a letter
        set -- "$1" ${line##*) }
        if [ "$3" = "$1" ]; then
            stat=${stat#/proc/}
            echo "${stat%/stat}"
            return 0
        fi
    done
    return 1
}

pid=$main
while [ "$(readlink "/proc/$pid/ns/pid")" = "$own" ]; do
    pid=$(child "$pid") || exit 0
done
kill -s "$signal" "$pid" 2>/dev/null || kill "-$signal" "$pid" || exit 1
tenths=$((seconds * 10))
while [ -d "/proc/$pid" ] && [ "$tenths" -gt 0 ]; do
    sleep 0.1
    tenths=$((tenths - 1))
done
[ ! -d "/proc/$pid" ] || kill -9 "$pid"
exit 0
