#!/bin/sh
# Written by docker-to-linux.
#
#   console COMMAND...    starts COMMAND with its output in a pipe that leads to the journal
#   console --drain       waits until the journal has what the command said last
#
# The journal's end of an output is a socket, and sockets cannot be opened by name. Commands that
# were made for containers open /dev/stdout and /dev/stderr; a pipe can be opened so.
dir=${RUNTIME_DIRECTORY:-/run/container}
if [ "$1" = --drain ]; then
    read -r pid <"$dir/pid" || exit 0
    # Ends by itself when the last writer is gone. What the command left running may write on.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "$pid" 2>/dev/null || exit 0
        sleep 0.1
    done
    exit 0
fi

rm -f "$dir/output"
mkfifo -m 600 "$dir/output" || exit 1
# Where the service's user is not the one that runs this.
[ -z "$CONSOLE_OWNER" ] || chown "$CONSOLE_OWNER" "$dir/output" || exit 1
# Not a child of the command, and deaf to what ends it: its last words are still to come.
(
    trap '' HUP INT QUIT TERM USR1 USR2
    cat <"$dir/output" &
    echo $! >"$dir/pid"
)
exec >"$dir/output" 2>&1
exec "$@"
