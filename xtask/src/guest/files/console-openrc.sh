#!/bin/sh
# Written by docker-to-linux: leads the output of the container's service to the system's log and
# to the console. It comes through a named pipe that belongs to the service's user; the console is
# root's.
#
#   console start UID:GID
#   console stop
dir=/run/container
pipe=$dir/output

# Ends the reader. Under another name of the pipe it ends with this round; somebody has to write,
# or it would wait for ever, but not if there is no reader any more.
end_reader() {
    if [ -p "$pipe" ]; then
        mv "$pipe" "$pipe.last"
        timeout 2 sh -c ": >'$pipe.last'"
    fi
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "$dir/pid" ] || break
        sleep 0.1
    done
    rm -f "$pipe.last"
}

case $1 in
start)
    mkdir -p "$dir" && chmod 755 "$dir" || exit 1
    # A start that failed, or a supervisor that was killed, leaves a reader behind; a second one
    # would not start beside it.
    if [ -e "$dir/pid" ]; then
        end_reader
        start-stop-daemon --stop --quiet --retry SIGKILL/1 --pidfile "$dir/pid" 2>/dev/null
        rm -f "$dir/pid"
    fi
    rm -f "$pipe"
    mkfifo -m 600 "$pipe" && chown "$2" "$pipe" || exit 1
    exec start-stop-daemon --start --background --quiet --make-pidfile --pidfile "$dir/pid" \
        --exec "$0" -- run
    ;;
run)
    # Each round ends when the last writer is gone: the service is started again, or stopped.
    while [ -p "$pipe" ]; do
        # The console may be gone; the log shall have it all the same.
        tee /dev/console <"$pipe" | logger -t container
    done
    rm -f "$dir/pid"
    ;;
stop)
    [ -p "$pipe" ] || exit 0
    end_reader
    exit 0
    ;;
esac
