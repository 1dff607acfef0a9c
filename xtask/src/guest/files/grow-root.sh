#!/bin/sh
# Written by docker-to-linux: the root partition, and the file system on it, grow to the end of
# the disk. It runs at every start until there was something to grow; then it removes itself.
#
# It may be cut off anywhere. The partition table is written by sfdisk, an MBR in one sector, a
# GPT with its backup first; the partition's start never changes, so whichever table counts after
# that names the same file system. The file system is grown by the kernel, in its journal. The
# next start does what is left.
#
# It touches the disk under / and no other, and only where the last partition of it is the root.
set -eu
export LC_ALL=C

here=/usr/lib/docker-to-linux
mark=/var/lib/docker-to-linux/growing

say() {
    printf 'grow-root: %s\n' "$*"
}

# Nothing calls it any more, then nothing of it is left.
remove_itself() {
    rm -f /etc/systemd/system/*.wants/grow-root.service /etc/runlevels/*/grow-root
    rm -f /etc/systemd/system/grow-root.service /etc/init.d/grow-root
    rm -f "$mark" "$here/grow-root"
    rmdir "${mark%/*}" "$here" 2>/dev/null || :
    sync
}

# A file of one number or word.
value() {
    read -r it <"$1" && printf '%s\n' "$it"
}

# ---- Which partition ----------------------------------------------------------------------

# Of several mounts at / the last one counts (proc_pid_mountinfo(5)).
number=$(awk '$5 == "/" { n = $3 } END { print n }' /proc/self/mountinfo)
type=$(awk '$2 == "/" { t = $3 } END { print t }' /proc/self/mounts)
case $type in
    ext[34]) ;;
    *) say "/ is $type: left as it is" && exit 0 ;;
esac
partition=$(readlink -f "/sys/dev/block/$number")
if [ ! -r "$partition/partition" ]; then
    say "/ is not on a partition: left as it is"
    exit 0
fi
disk=${partition%/*}
index=$(value "$partition/partition")
# A name may have slashes in it, which sysfs shows as exclamation marks.
partition_node=/dev/$(sed -n 's/^DEVNAME=//p' "$partition/uevent")
disk_node=/dev/$(sed -n 's/^DEVNAME=//p' "$disk/uevent")
# In sectors of 512 bytes, whatever the disk's own are.
start=$(value "$partition/start")
size=$(value "$partition/size")
disk_size=$(value "$disk/size")
# How many of these one of its own has: sfdisk counts in those.
per_sector=$(($(value "$disk/queue/logical_block_size") / 512))
for other in "$disk"/*/start; do
    if [ "$(value "$other")" -gt "$start" ]; then
        say "$disk_node has a partition behind the root: left as it is"
        exit 0
    fi
done

# ---- The partition ------------------------------------------------------------------------

table=$(sfdisk --dump "$disk_node" 2>/dev/null)
case $(printf '%s\n' "$table" | sed -n 's/^label: //p') in
    # The backup table takes 16 KiB and a sector.
    gpt) end=$((disk_size - 32 - per_sector)) ;;
    # Numbers of sectors have 32 bits.
    dos)
        end=$disk_size
        if [ $((end - start)) -gt 4294967295 ]; then end=$((start + 4294967295)); fi
        ;;
    *) say "$disk_node has neither a GPT nor an MBR: left as it is" && exit 0 ;;
esac
# Whole MiB, as everything on the disk. It never shrinks.
end=$((end / 2048 * 2048))
if [ "$end" -lt $((start + size)) ]; then end=$((start + size)); fi

# With the mark, a start before this one may have been cut off between a GPT and its backup.
if [ "$end" -gt $((start + size)) ] || [ -e "$mark" ]; then
    begins=$(printf '%s\n' "$table" | sed -n "s|^$partition_node : start= *\([0-9]*\),.*|\1|p")
    if [ "$((${begins:-0} * per_sector))" != "$start" ]; then
        say "$disk_node does not have $partition_node where the kernel has it: left as it is" >&2
        exit 1
    fi
    mkdir -p "${mark%/*}"
    : >"$mark"
    sync
    say "$partition_node grows from $((size / 2048)) to $(((end - start) / 2048)) MiB"
    # The disk is in use, which sfdisk would refuse to touch; the kernel is told by partx, which
    # does not need to read the whole table again.
    if ! said=$(echo "size=$(((end - start) / per_sector))" |
        sfdisk --quiet --no-reread --no-tell-kernel --wipe never -N "$index" "$disk_node" 2>&1); then
        say "$said" >&2
        exit 1
    fi
    partx --update --nr "$index" "$disk_node" || partprobe "$disk_node" || :
    if [ "$(value "$partition/size")" -lt $((end - start)) ]; then
        say "the kernel goes on with the old size: the file system grows at the next start"
        exit 0
    fi
fi

# ---- The file system ----------------------------------------------------------------------

said=$(resize2fs "$partition_node" 2>&1) || {
    say "$said" >&2
    exit 1
}
case $said in
    *"Nothing to do"*) ;;
    *)
        sync
        say "the file system on $partition_node has $(df -Pm / | awk 'NR == 2 { print $2 }') MiB now"
        remove_itself
        exit 0
        ;;
esac
# A start before this one did all of it but the last step.
if [ -e "$mark" ]; then remove_itself; fi
