#!/bin/sh
# Written by docker-to-linux. Brings the boot loaders in step with the kernels of this machine:
# copies each kernel and its initrd to the EFI system partition (ESP), writes systemd-boot's
# entries and EXTLINUX's menu, and removes what belongs to kernels that are gone.
#
# A unified kernel image stays as long as it holds the kernel, the initrd and the arguments that
# the machine has. It is not made anew here, which takes tools that few machines have: what is
# new gets an entry of its own, and the image goes once that one can be started.
#
# Hooks call it after every change of a kernel or an initrd. It may be run at any time: where
# nothing changed it changes nothing. Its settings are in /etc/docker-to-linux/boot.conf.
#
# The ESP is FAT and has no journal. So what is new is written beside the old, synced and
# renamed over it, and a kernel is removed only while another one can be started.
#
# It needs a POSIX shell and what busybox has.

set -eu
umask 022
export LC_ALL=C

# Only tests set it: the folder that stands for /.
root=${UPDATE_BOOT_ROOT:-}
root=${root:+$(readlink -f "$root")}

newline='
'

say() {
    printf 'update-boot: %s\n' "$*" >&2
}

# A text as a file name that every file system and boot loader takes.
file_name() {
    printf '%s' "$1" | tr -c 'A-Za-z0-9._+-' '-'
}

# ---- Kernels ------------------------------------------------------------------------------

# Sorts lines by the version before their first `|`, the newest first. The order is that of the
# Boot Loader Specification (UAPI group, "Version Format Specification"), which `sort -V` has not.
newest_first() {
    awk -F'|' '
        function clean(s) { sub(/^[^A-Za-z0-9.~^-]+/, "", s); return s }
        function starts(s, c) { return substr(s, 1, 1) == c }
        function head(s, digits) {
            if (digits) { if (match(s, /^[0-9]+/)) return substr(s, 1, RLENGTH) }
            else if (match(s, /^[A-Za-z]+/)) return substr(s, 1, RLENGTH)
            return ""
        }
        # Below 0: a is older than b; above 0: newer.
        function compare(a, b,    c, i, x, y, digits) {
            for (;;) {
                a = clean(a); b = clean(b)
                for (i = 1; i <= 4; i++) {
                    c = substr("~-^.", i, 1)
                    if (i == 2 && (a == "" || b == "")) return (a != "") - (b != "")
                    if (starts(a, c) != starts(b, c)) return starts(b, c) - starts(a, c)
                    if (starts(a, c)) { a = substr(a, 2); b = substr(b, 2) }
                }
                digits = a ~ /^[0-9]/ || b ~ /^[0-9]/
                x = head(a, digits); y = head(b, digits)
                if (digits && (x == "" || y == "")) return (x != "") - (y != "")
                a = substr(a, length(x) + 1); b = substr(b, length(y) + 1)
                if (digits) {
                    sub(/^0+/, "", x); sub(/^0+/, "", y)
                    if (length(x) != length(y)) return length(x) - length(y)
                }
                # As texts, also where both look like numbers.
                if ("v" x != "v" y) return "v" x < "v" y ? -1 : 1
            }
        }
        function goes_before(i, j,    c) {
            c = compare(version[i], version[j])
            return c > 0 || (c == 0 && "v" version[i] < "v" version[j])
        }
        {
            line[NR] = $0; version[NR] = $1
            for (n = NR; n > 1 && goes_before(n, n - 1); n--) {
                t = line[n]; line[n] = line[n - 1]; line[n - 1] = t
                t = version[n]; version[n] = version[n - 1]; version[n - 1] = t
            }
        }
        END { for (n = 1; n <= NR; n++) print line[n] }'
}

# Prints the path without any link in it of a file that is not empty; fails if there is none.
canonical() {
    real=$(readlink -f "$root$1") || return 1
    if [ ! -f "$real" ] || [ ! -s "$real" ]; then return 1; fi
    printf '%s\n' "${real#"$root"}"
}

# Whether the name $1 can be part of a line here: not with a line feed or a `|` in it.
is_fit() {
    case $1 in
        *[[:cntrl:]]* | *"|"*) return 1 ;;
    esac
}

# Whether the file $1 may be a kernel of this machine. An ELF file (vmlinux), a compressed file, a
# text and a program for another processor are none; what is not known may be one.
may_boot() {
    case $(od -An -tx1 -N8 "$1" | tr -d ' \n') in
        7f454c46* | 1f8b* | fd377a585a00* | 28b52ffd* | 425a68* | 5d0000* | 02214c18* | \
            04224d18* | 894c5a4f000d0a*) return 1 ;;
        4d5a*)
            header=$(number "$1" 60 4 2>/dev/null)
            if [ "$(number "$1" "${header:-0}" 4 2>/dev/null)" = 17744 ]; then
                case $architecture/$(number "$1" $((header + 4)) 2 2>/dev/null) in
                    */0 | */ | x64/34404 | aa64/43620) return 0 ;;
                    *) return 1 ;;
                esac
            fi
            ;;
        *) [ "$(head -c 4096 "$1" | tr -d '\t\n\r -~' | wc -c)" -gt 0 ] ;;
    esac
}

# The versions that have modules, the newest first.
module_versions() {
    for dir in "$root"/usr/lib/modules/* "$root"/lib/modules/*; do
        if [ -e "$dir" ] && is_fit "${dir##*/}"; then printf '%s\n' "${dir##*/}"; fi
    done | newest_first
}

# The version that the ending of a kernel's file name stands for. Where modules say no more than
# "virt", that is the flavour at the end of a version.
version_of() {
    set -f
    IFS=$newline
    for version in $modules; do
        if [ "$version" = "$1" ]; then
            printf '%s\n' "$version"
            return 0
        fi
    done
    for version in $modules; do
        if [ -z "$1" ] || [ "${version%"-$1"}" != "$version" ]; then
            printf '%s\n' "$version"
            return 0
        fi
    done
    printf '%s\n' "${1:-linux}"
}

# The initrd of the kernel of version $1 whose names have the endings $2, separated by slashes;
# fails if it has none.
initrd_of() {
    set -f
    IFS=/
    for ending in $2 "-$1"; do
        if [ "$ending" = - ]; then ending=; fi
        for name in "initrd.img$ending" "initramfs$ending.img" "initramfs$ending" "initrd$ending"; do
            if canonical "/boot/$name"; then return 0; fi
        done
    done
    for dir in /usr/lib/modules /lib/modules; do
        for name in initramfs.img initrd.img initrd; do
            if canonical "$dir/$1/$name"; then return 0; fi
        done
    done
    return 1
}

# PATH|LENGTH OF ENDING|ENDING of everything that is named as a kernel.
kernel_files() {
    for name in vmlinuz vmlinux bzImage Image; do
        for path in "$root/boot/$name" "$root/boot/$name"-* \
            "$root"/usr/lib/modules/*/"$name" "$root"/lib/modules/*/"$name"; do
            case $path in
                */modules/*)
                    ending=${path%/*}
                    ending=${ending##*/}
                    ;;
                *)
                    ending=${path##*/}
                    ending=${ending#"$name"}
                    ending=${ending#-}
                    ;;
            esac
            case $path in
                */modules/*) ;;
                # Copies, and what accompanies a kernel.
                *.old | *.bak | *.backup | *.orig | *.save | *"~" | *.dpkg-old | *.dpkg-new | \
                    *.rpmsave | *.apk-new | *.hmac | *.sha1 | *.sha256 | *.sha512 | *.md5 | \
                    *.sig | *.sign | *.asc | *.p7s) continue ;;
            esac
            if is_fit "$path" && real=$(canonical "${path#"$root"}") && is_fit "$real" &&
                may_boot "$root$real"; then
                printf '%s|%s|%s\n' "$real" "${#ending}" "$ending"
            fi
        done
    done
}

# VERSION|KERNEL|INITRD of each kernel that has an initrd, the newest first. A kernel may have
# several names: the longest tells its version, and its initrd may be named after any.
find_kernels() {
    kernel_files | sort -t'|' -k1,1 -k2,2nr | awk -F'|' '
        $1 != path { if (NR > 1) print path "|" endings; path = $1; endings = "-" $3; next }
        { endings = endings "/-" $3 }
        END { if (NR) print path "|" endings }' |
        while IFS='|' read -r linux endings; do
            longest=${endings%%/*}
            version=$(version_of "${longest#-}")
            if initrd=$(initrd_of "$version" "$endings"); then
                printf '%s|%s|%s\n' "$version" "$linux" "$initrd"
            fi
        done | awk -F'|' '
            # Two that are one as names of files cannot lie on one ESP.
            { name = $1; gsub(/[^A-Za-z0-9._+-]/, "-", name) }
            !seen[name]++' | newest_first
}

# ---- Files --------------------------------------------------------------------------------

# Gives the file $1 the text on stdin, if it has another one.
put() {
    if ! cat >"$1.new"; then
        rm -f "$1.new"
        return 1
    fi
    if cmp -s "$1.new" "$1"; then
        rm -f "$1.new"
        return 0
    fi
    sync
    mv -f "$1.new" "$1" || return 1
    sync
    say "wrote ${1#"$root"}"
}

# ---- EXTLINUX -----------------------------------------------------------------------------

# The first of the links $2... that leads to $1; else $1.
link_to() {
    target=$1
    shift
    for link; do
        if [ -L "$root$link" ] && [ "$(canonical "$link")" = "$target" ]; then
            printf '%s\n' "$link"
            return 0
        fi
    done
    return 1
}

# The path of the file $1 for EXTLINUX. It cuts lines at blanks and commas: a name that is not
# plain gets a link of the name $2 beside the menu.
plain_path() {
    case $1 in
        *[!A-Za-z0-9._+~^=@%/-]*) ;;
        *)
            printf '%s\n' "$1"
            return 0
            ;;
    esac
    link=${extlinux%/*}/$2
    if [ "$(readlink "$root$link")" != "$1" ]; then
        ln -sfn "$1" "$root$link" || return 1
    fi
    printf '%s\n' "$link"
}

menu_text() {
    # The head of the file stays as it is: the port, the prompt, the time to wait.
    awk '/^(SAY|DEFAULT|LABEL) / { exit } { print }' "$1"
    first=yes
    while IFS='|' read -r version linux initrd; do
        id=$token-$(file_name "$version")
        if [ "$first" = yes ]; then
            # The loader prints bytes as the PC's own character set has them.
            shown=$(printf '%s' "$title ($version)" | tr -c ' -~' '?')
            printf 'SAY Booting %s; TAB lists the others.\nDEFAULT %s\n' "$shown" "$id"
            # By the distribution's own links the default follows it even without this program.
            if a=$(link_to "$linux" /vmlinuz /boot/vmlinuz) &&
                b=$(link_to "$initrd" /initrd.img /boot/initrd.img); then
                linux=$a
                initrd=$b
            fi
            first=no
        fi
        linux=$(plain_path "$linux" "$id.linux") || return 1
        initrd=$(plain_path "$initrd" "$id.initrd") || return 1
        printf '\nLABEL %s\n  LINUX %s\n  INITRD %s\n  APPEND %s\n' \
            "$id" "$linux" "$initrd" "$arguments"
    done <<EOF
$kernels
EOF
}

update_extlinux() {
    conf=$root$extlinux
    if ! head -n 1 "$conf" 2>/dev/null | grep -q '^# Written by docker-to-linux'; then
        say "$extlinux is not docker-to-linux's any more: left as it is"
        return 0
    fi
    text=$(menu_text "$conf") || return 1
    printf '%s\n' "$text" | put "$conf" || return 1
    for link in "${conf%/*}/$token"-*.linux "${conf%/*}/$token"-*.initrd; do
        if [ -L "$link" ] && ! grep -qF "/${link##*/}" "$conf"; then rm -f "$link" || return 1; fi
    done
}

# ---- The ESP ------------------------------------------------------------------------------

is_mounted() {
    awk -v at="$esp" '$2 == at && $3 != "autofs" { yes = 1 } END { exit !yes }' /proc/self/mounts
}

# Sees to it that the ESP is mounted; fails, and says so, if it cannot be.
mount_esp() {
    if [ -n "$root" ]; then
        [ -d "$efi" ]
        return
    fi
    # Looking into it starts an automount.
    ls "$efi" >/dev/null 2>&1 || :
    if is_mounted 2>/dev/null; then return 0; fi
    if why=$(mount "$esp" 2>&1) && is_mounted; then
        # It is left as it was found.
        trap 'umount "$esp"' EXIT
        trap 'exit 1' HUP INT TERM
        return 0
    fi
    say "the EFI system partition is not at $esp, UEFI boots what is on it now: ${why:-not mounted}"
    return 1
}

# Where the unified kernel image of the kernel $1 lies, if there is one.
uki() {
    printf '%s\n' "$efi/EFI/Linux/$token-$1.efi"
}

# The number of $3 bytes at byte $2 of the file $1.
number() {
    od -An -tu"$3" -j "$2" -N "$3" "$1" | tr -d ' \n'
}

# Prints the section $2 of the EFI program $1; fails if it has none. (Microsoft, "PE Format".)
section() {
    header=$(number "$1" 60 4)
    left=$(number "$1" $((header + 6)) 2)
    header=$((header + 24 + $(number "$1" $((header + 20)) 2)))
    while [ "$left" -gt 0 ]; do
        if [ "$(tail -c +$((header + 1)) "$1" | head -c 8 | tr -d '\0')" = "$2" ]; then
            tail -c +$(($(number "$1" $((header + 20)) 4) + 1)) "$1" |
                head -c "$(number "$1" $((header + 8)) 4)"
            return
        fi
        header=$((header + 40))
        left=$((left - 1))
    done
    return 1
}

# Whether the kernel $1 has a unified kernel image, of the files $2 and $3 and today's arguments.
is_unified() {
    image=$(uki "$1")
    [ -s "$image" ] &&
        [ "$(section "$image" .cmdline)" = "$arguments" ] &&
        section "$image" .linux | cmp -s - "$root$2" &&
        section "$image" .initrd | cmp -s - "$root$3"
}

# The kernels that are on the ESP, by the names of their folders. Entries of others are none.
held() {
    {
        for dir in "$efi/$token"/*/; do
            if [ -d "$dir" ]; then
                dir=${dir%/}
                printf '%s\n' "${dir##*/}"
            fi
        done
        for conf in "$entries/$token"-*.conf; do
            name=${conf##*/"$token"-}
            name=${name%.conf}
            if grep -qsxF "linux /$token/$name/linux" "$conf"; then printf '%s\n' "$name"; fi
        done
        for image in "$efi/EFI/Linux/$token"-*.efi; do
            name=${image##*/"$token"-}
            if [ -e "$image" ]; then printf '%s\n' "${name%.efi}"; fi
        done
    } | sort -u
}

# The file name of what starts the kernel $1 from the ESP; fails if nothing does.
entry_of() {
    if has_entry "$1"; then
        printf '%s\n' "$token-$1.conf"
    elif [ -s "$(uki "$1")" ]; then
        printf '%s\n' "$token-$1.efi"
    else
        return 1
    fi
}

# Whether the kernel $1 can be started from the ESP.
is_complete() {
    entry_of "$1" >/dev/null
}

# Whether the kernel $1 has an entry, and the files that it names.
has_entry() {
    [ -s "$entries/$token-$1.conf" ] && [ -s "$efi/$token/$1/linux" ] && [ -s "$efi/$token/$1/initrd" ]
}

# Whether a kernel can be started from the ESP that is not $1.
has_another() {
    for other in $(held); do
        if [ "$other" != "$1" ] && is_complete "$other"; then return 0; fi
    done
    return 1
}

# Whether the machine has the kernel $1.
is_present() {
    case " $present " in
        *" $1 "*) return 0 ;;
        *) return 1 ;;
    esac
}

# Takes the kernel $1 off the ESP, unless it is the last that can be started.
drop() {
    if is_complete "$1" && ! has_another "$1"; then
        return 1
    fi
    # The entry first: what the menu offers must be there.
    rm -f "$entries/$token-$1.conf" "$(uki "$1")" || return 1
    sync
    rm -rf "${efi:?}/$token/$1" || return 1
    sync
    say "removed $1 from $esp"
}

free_kib() {
    df -Pk "$efi" | awk 'NR == 2 { print $4 }'
}

# Which kernels may give way to the kernel $1: those that are gone, older ones, the oldest first,
# and at last its own old copy.
may_give_way() {
    for one in $(held); do
        if ! is_present "$one"; then printf '%s\n' "$one"; fi
    done
    oldest_first=
    for one in $present; do oldest_first="$one $oldest_first"; done
    for one in $oldest_first; do
        if [ -e "$efi/$token/$one" ] || [ -e "$(uki "$one")" ]; then printf '%s\n' "$one"; fi
        if [ "$one" = "$1" ]; then return 0; fi
    done
}

# Makes room of $2 KiB for the kernel $1.
make_room() {
    for other in $(may_give_way "$1"); do
        if [ "$(free_kib)" -ge "$2" ]; then return 0; fi
        victim=$other
        drop "$victim" || :
    done
    [ "$(free_kib)" -ge "$2" ]
}

# Which of the files of the kernel in the folder $1 differ from $2 and $3.
differing() {
    cmp -s "$root$2" "$1/linux" || printf 'linux\n'
    cmp -s "$root$3" "$1/initrd" || printf 'initrd\n'
}

# What the files $1 (`linux`, `initrd`) take on the ESP, of $2 and $3, in KiB: with room for
# their folder, the entry and unfilled clusters.
needed_kib() {
    kib=256
    for file in $1; do
        case $file in
            linux) bytes=$(wc -c <"$root$2") ;;
            *) bytes=$(wc -c <"$root$3") ;;
        esac
        kib=$((kib + bytes / 1024 + 1))
    done
    printf '%s\n' "$kib"
}

# Whether the initrd $1 is whole, as far as can be told: mkinitfs writes in place, and leaves half
# an initrd where it fails.
is_whole() {
    case $(od -An -tx1 -N2 "$1" | tr -d ' \n') in
        1f8b) gzip -t <"$1" 2>/dev/null ;;
        *) return 0 ;;
    esac
}

# Puts the kernel of version $1 on the ESP, with the files $2 and $3, and writes its entry.
place() {
    name=$(file_name "$1")
    if is_unified "$name" "$2" "$3"; then return 0; fi
    dir=$efi/$token/$name
    changed=$(differing "$dir" "$2" "$3")
    if [ -n "$changed" ]; then
        if ! is_whole "$root$3"; then
            say "$3 is damaged: not copied to $esp"
            return 1
        fi
        need=$(needed_kib "$changed" "$2" "$3")
        if [ "$(free_kib)" -lt "$need" ]; then
            make_room "$name" "$need" || :
            # Its own old copy may have gone.
            changed=$(differing "$dir" "$2" "$3")
            need=$(needed_kib "$changed" "$2" "$3")
            free=$(free_kib)
            if [ "$free" -lt "$need" ]; then
                say "no room on $esp for $1: it takes $need KiB, there are $free"
                return 1
            fi
        fi
        mkdir -p "$dir" || return 1
        for file in $changed; do
            from=$2
            if [ "$file" = initrd ]; then from=$3; fi
            if ! cp "$root$from" "$dir/$file.new"; then
                rm -f "$dir"/*.new
                return 1
            fi
        done
        sync
        for file in $changed; do
            mv -f "$dir/$file.new" "$dir/$file" || return 1
        done
        sync
        # shellcheck disable=SC2086 # two words at most
        say "copied $1 to $esp:" $changed
    fi
    put "$entries/$token-$name.conf" <<EOF
title $title ($1)
version $1
sort-key $token
linux /$token/$name/linux
initrd /$token/$name/initrd
options $arguments
architecture $architecture
EOF
    image=$(uki "$name")
    if [ -e "$image" ] && has_entry "$name"; then
        rm -f "$image" || return 1
        sync
        say "removed ${image#"$root"}, which an entry replaces"
    fi
}

# Makes the file $1 the entry that starts by itself, unless somebody chose another one.
set_default() {
    conf=$efi/loader/loader.conf
    if [ ! -s "$conf" ]; then
        put "$conf" <<EOF
timeout 2
default $1
EOF
        return
    fi
    case $(awk '$1 == "default" { print $2; exit }' "$conf") in
        "$1") ;;
        '' | "$token"-*)
            text=$(awk -v line="default $1" '
                $1 == "default" { if (!done++) print line; next }
                { print }
                END { if (!done) print line }' "$conf") || return 1
            printf '%s\n' "$text" | put "$conf"
            ;;
        *) say "$conf names another default: left as it is" ;;
    esac
}

update_esp() {
    entries=$efi/loader/entries
    mkdir -p "$entries" "$efi/$token" || return 1
    # What a run left that was cut off.
    rm -f "$efi/$token"/*/*.new "$entries/$token"-*.new "$efi"/loader/*.new
    default=
    status=0
    newest=yes
    while IFS='|' read -r version linux initrd; do
        if ! place "$version" "$linux" "$initrd" && [ "$newest" = yes ]; then status=1; fi
        newest=no
        name=$(file_name "$version")
        # An old copy of it starts as well as ever where the new one could not be taken.
        if [ -z "$default" ]; then default=$(entry_of "$name") || default=; fi
    done <<EOF
$kernels
EOF
    # With none of them there, what is on it is all that can be started.
    if [ -z "$default" ]; then return 1; fi
    set_default "$default" || return 1
    for one in $(held); do
        if ! is_present "$one"; then drop "$one" || status=1; fi
    done
    return "$status"
}

# ---- All of it ----------------------------------------------------------------------------

token='' arguments='' architecture='' esp='' extlinux='' title=''
# shellcheck source=/dev/null
. "$root/etc/docker-to-linux/boot.conf"
: "${token:?}" "${arguments:?}" "${architecture:?}" "${esp:?}"
efi=$root$esp

if [ -z "$title" ]; then
    for file in "$root/etc/os-release" "$root/usr/lib/os-release"; do
        if [ -z "$title" ] && [ -r "$file" ]; then
            title=$(sed -n 's/^PRETTY_NAME=//p' "$file" | head -n 1 |
                sed "s/^[[:space:]]*//; s/[[:space:]]*\$//; s/^[\"']*//; s/[\"']*\$//")
        fi
    done
fi
title=$(printf '%s' "${title:-$token}" | tr '[:cntrl:]' '?')

# Two package managers at once are none of ours, a person beside one is.
if [ -w "$root/run" ] && command -v flock >/dev/null 2>&1; then
    exec 9>"$root/run/docker-to-linux.lock"
    flock 9
fi

modules=$(module_versions)
kernels=$(find_kernels)
if [ -z "$kernels" ]; then
    say "there is no kernel with an initrd: nothing is changed"
    exit 0
fi
present=
while IFS='|' read -r version _; do
    present="$present${present:+ }$(file_name "$version")"
done <<EOF
$kernels
EOF

result=0
if [ -n "$extlinux" ]; then update_extlinux || result=1; fi
if mount_esp; then update_esp || result=1; fi
exit "$result"
