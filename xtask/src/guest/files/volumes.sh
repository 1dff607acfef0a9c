#!/bin/sh
# Written by docker-to-linux: mounts the volumes, each of them a folder of one file system.
#
# A volume that does not exist yet is filled with what the image has at its place. This is done
# under another name, so a start that is cut off leaves no half of a volume. A volume that exists is
# never changed, whatever a newer image has.
#
# If a volume cannot be mounted, nothing may be written at its place: it would be written to the
# system's own disk, and be missing later. The place is covered with an empty folder that can only
# be read, and this program fails, so that the container is not started.
set -u
export LC_ALL=C
umask 022

here=/usr/lib/docker-to-linux
base=/var/lib/container/volumes
new=$base/.new
tab=$(printf '\t')
failed=

say() {
    printf 'volumes: %s\n' "$*" >&2
}

problem() {
    say "$*"
    failed=yes
}

# Whether no part of a path is a link: what runs in the container may have put one into it, and the
# place would be somewhere else.
is_real() {
    part=$1
    while [ ! -e "$part" ] && [ ! -h "$part" ]; do part=${part%/*}; done
    [ -z "$part" ] || [ "$(readlink -f "$part")" = "$part" ]
}

# Makes the folder $1 of the base and fills it from the folder $2.
fill() {
    rm -rf "$new" || return
    if [ -d "$2" ]; then
        cp -a "$2/." "$new" || return
    else
        mkdir "$new" || return
    fi
    sync && mv "$new" "$base/$1" && sync
}

# Mounts the folder $1 of the base at $2; $3 says how.
place() {
    mkdir -p "$2" || return
    mount -o bind "$base/$1" "$2" || return
    [ "$3" = rw ] || mount -o remount,bind,ro "$base/$1" "$2"
}

# ---- The file system ------------------------------------------------------------------------

if ! mountpoint -q "$base"; then
    problem "$(sed -n "s|^\(UUID=[^ ]*\) $base .*|\1|p" /etc/fstab) is not mounted at $base." \
        "Is its disk attached? Is its file system damaged (fsck)?"
elif ! touch "$new.check" || ! rm -f "$new.check"; then
    problem "the file system at $base cannot be written to. Is it damaged (fsck)?"
fi

# ---- New volumes, before anything is mounted over what they are filled from -----------------

if [ -z "$failed" ]; then
    while IFS=$tab read -r mode name at; do
        if [ -d "$base/$name" ]; then continue; fi
        if ! is_real "$at" || ! fill "$name" "$at"; then
            problem "$name cannot be filled from $at"
            rm -rf "$new"
        else
            say "$name is new, and filled from $at"
        fi
    done <"$here/volumes.list"
fi

# ---- All volumes, a folder before those in it -----------------------------------------------

while IFS=$tab read -r mode name at; do
    if mountpoint -q "$at"; then continue; fi
    if ! is_real "$at"; then
        problem "$at is not mounted, because a part of this path is a link"
        continue
    fi
    if [ -d "$base/$name" ] && mountpoint -q "$base" && place "$name" "$at" "$mode"; then continue; fi
    problem "$at has no volume: nothing can be written there"
    mkdir -p "$at" && mount -t tmpfs -o ro,size=4k,mode=755 volumes "$at"
done <"$here/volumes.list"

if [ -n "$failed" ]; then
    say "the container is not started"
    exit 1
fi
