#!/bin/sh
# Written by docker-to-linux: the boot loaders follow every change of a kernel or an initrd.
# apk calls it before and after its work; after it, mkinitfs's trigger has run as well.
set -e
[ "${1:-}" = post-commit ] || exit 0
program=/usr/lib/docker-to-linux/update-boot
[ -x "$program" ] || exit 0
exec "$program" >&2
