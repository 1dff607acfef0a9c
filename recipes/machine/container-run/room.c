// The mounts of a container, as runc and crun make them (runtime-spec, config-linux.md, "Default
// Filesystems"; moby, oci/defaults.go).
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// <sys/mount.h> does not agree with <linux/mount.h>, which has the newer calls.
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
enum { DETACH = 2 };

enum { NOSUID = MS_NOSUID, HARDENED = MS_NOSUID | MS_NODEV | MS_NOEXEC };

// Files that say too much about the machine, or control it.
static const char *const hidden[] = {
    "/proc/acpi",          "/proc/asound",      "/proc/interrupts",
    "/proc/kcore",         "/proc/keys",        "/proc/latency_stats",
    "/proc/sched_debug",   "/proc/scsi",        "/proc/timer_list",
    "/proc/timer_stats",   "/sys/firmware",     "/sys/devices/virtual/powercap",
};
static const char *const fixed[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static const struct {
    const char *name;
    int major, minor;
} devices[] = {
    {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};
static const char *const links[][2] = {
    {"/proc/self/fd", "/dev/fd"},       {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
    {"pts/ptmx", "/dev/ptmx"},          {"/proc/kcore", "/dev/core"},
};

void make_folder(const char *path) {
    char part[4096];
    if (strlen(path) >= sizeof part) {
        errno = ENAMETOOLONG;
        fail("the folder %s", path);
    }
    strcpy(part, path);
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char end = *at;
        *at = '\0';
        // A link to a folder is one, too: it leads nowhere but into the container.
        struct stat there;
        if (mkdir(part, 0755) != 0 && (stat(part, &there) != 0 || !S_ISDIR(there.st_mode)))
            fail("making the container's folder %s", part);
        *at = end;
        if (end == '\0')
            return;
    }
}

static void add(const char *type, const char *path, unsigned long flags, const char *options) {
    make_folder(path);
    if (mount(type, path, type, flags, options) != 0)
        fail("mounting %s at the container's %s", type, path);
}

// Makes an empty file to mount on. A link may lead to a file, or into a folder, that is missing.
static bool make_file(const char *path) {
    char target[4096], folder[4096];
    for (int steps = 0; steps < 8; steps++) {
        int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
        if (fd >= 0)
            return close(fd) == 0;
        ssize_t size = readlink(path, target, sizeof target - 1);
        if (errno == EISDIR || size <= 0)
            return false;
        target[size] = '\0';
        // From the folder of the link, i.e. /etc.
        int full = snprintf(folder, sizeof folder, "%s%s", target[0] == '/' ? "" : "/etc/", target);
        if (full < 0 || (size_t)full >= sizeof folder)
            return false;
        *strrchr(folder, '/') = '\0';
        if (folder[0] != '\0')
            make_folder(folder);
    }
    return false;
}

static void hide(const char *path) {
    struct stat there;
    if (stat(path, &there) != 0)
        return;
    int done = S_ISDIR(there.st_mode)
                   ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k,nr_inodes=2")
                   : mount("/dev/null", path, NULL, MS_BIND, NULL);
    if (done != 0)
        fail("hiding the container's %s", path);
}

static void fix(const char *path) {
    if (access(path, F_OK) != 0)
        return;
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) != 0 ||
        mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | HARDENED, NULL) != 0)
        fail("write-protecting the container's %s", path);
}

static void make_devices(const struct run *run) {
    char path[64], options[128];
    if (run->privileged) {
        // All of the machine, also those that are plugged in later.
        add("devtmpfs", "/dev", NOSUID, NULL);
    } else {
        add("tmpfs", "/dev", NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
        for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
            snprintf(path, sizeof path, "/dev/%s", devices[i].name);
            if (mknod(path, S_IFCHR | 0666, makedev((unsigned)devices[i].major, (unsigned)devices[i].minor)) != 0)
                fail("making the container's %s", path);
        }
    }
    // The last one only where the kernel has such a file.
    size_t count = sizeof links / sizeof *links - (access("/proc/kcore", F_OK) != 0);
    for (size_t i = 0; i < count; i++)
        if (symlink(links[i][0], links[i][1]) != 0 && errno != EEXIST)
            fail("making the container's %s", links[i][1]);
    add("devpts", "/dev/pts", NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    add("mqueue", "/dev/mqueue", HARDENED, NULL);
    snprintf(options, sizeof options, "mode=1777,size=%s", run->shm_size);
    add("tmpfs", "/dev/shm", HARDENED, options);
}

// Makes the folder of the container's files the root of everything.
static void enter(const struct run *run, int files[SHARED]) {
    // Mounts of the machine's volumes come along, later ones as well, and nothing leads back.
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) != 0)
        fail("separating the mounts");
    new_group((struct run *)run);
    if (mount(run->root, run->root, NULL, MS_BIND | MS_REC, NULL) != 0)
        fail("mounting %s", run->root);
    for (int i = 0; i < SHARED; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", run->state, shared[i]);
        files[i] = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (files[i] < 0)
            fail("opening %s", path);
    }
    // The old root lies on the new one until it is taken away (pivot_root(2), "pivot_root(".",
    // ".")").
    if (chdir(run->root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", DETACH) != 0 ||
        chdir("/") != 0)
        fail("entering %s", run->root);
}

void make_room(struct run *run) {
    int files[SHARED];
    umask(0);
    enter(run, files);
    // From here on no path leads out of the container.
    umask(022);
    add("proc", "/proc", HARDENED, NULL);
    umask(0);
    make_devices(run);
    umask(022);
    unsigned long fixed_sys = run->privileged ? 0 : MS_RDONLY;
    add("sysfs", "/sys", HARDENED | fixed_sys, NULL);
    if (run->devices) {
        const char *groups = "/sys/fs/cgroup";
        // Only this mount is read-only. If it is the machine's first one, a flag at once would make
        // the file system read-only for all.
        if (access(groups, F_OK) == 0) {
            add("cgroup2", groups, HARDENED, NULL);
            if (fixed_sys && !run->systemd &&
                mount(NULL, groups, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | HARDENED, NULL) != 0)
                fail("write-protecting the container's %s", groups);
        }
    }
    if (run->systemd) {
        // What podman adds for systemd (podman-run(1), "--systemd").
        add("tmpfs", "/run", NOSUID | MS_NODEV, "mode=755");
        add("tmpfs", "/run/lock", HARDENED, "mode=1777");
        add("tmpfs", "/tmp", NOSUID | MS_NODEV, "mode=1777");
    }
    for (int i = 0; i < SHARED; i++) {
        char path[64];
        snprintf(path, sizeof path, "/etc/%s", shared[i]);
        make_folder("/etc");
        if (!make_file(path) ||
            syscall(SYS_move_mount, files[i], "", AT_FDCWD, path,
                    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) != 0)
            note("the container's %s cannot be mounted on, so the machine's is not used", path);
        close(files[i]);
    }
    for (size_t i = 0; i < run->folder_count; i++)
        make_folder(run->folders[i]);
    make_folder(run->cwd);
    if (run->privileged)
        return;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        hide(hidden[i]);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        fix(fixed[i]);
}
