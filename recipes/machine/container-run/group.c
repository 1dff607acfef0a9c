// The control group of a container, and the device files that it may open.
//
// A process with the engines' capabilities may make device files. So the kernel has to check which
// it opens, or it could read the machine's disk: a program attached to the control group does that
// (Linux, Documentation/admin-guide/cgroup-v2.rst, "Device controller").
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

// The name of a file system of this kind in statfs(2).
enum { CGROUP2_MAGIC = 0x63677270 };
// The name of a container's group.
#define NAME "/container"
// How often the removal of a group is tried, and how many of these tries wait for processes to end
// by themselves. Between two of them is a tenth of a second.
enum { TRIES = 30, PATIENT_TRIES = 10 };
// Largest number of groups that are removed. A systemd makes about a hundred.
enum { MAX_REMOVED = 65536 };

// The mount of all control groups. A second one would reset the options of the first, so a new one
// is made only where there is none, and only if the caller has a mount namespace of its own.
static const char *hierarchy(bool may_mount) {
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs there;
    for (int i = 0; i < 2; i++)
        if (statfs(places[i], &there) == 0 && there.f_type == CGROUP2_MAGIC)
            return places[i];
    return may_mount && mount("cgroup2", places[0], "cgroup2", 0, NULL) == 0 ? places[0] : NULL;
}

// The folder of a process's group: the line "0::/path" (cgroups(7)).
static bool folder_of(const char *process, bool may_mount, char *path, size_t size) {
    char name[64], text[8192];
    const char *top = hierarchy(may_mount);
    snprintf(name, sizeof name, "/proc/%s/cgroup", process);
    if (!top || !get(name, text, sizeof text))
        return false;
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    line = strchr(line, '/');
    line[strcspn(line, "\n")] = '\0';
    return (size_t)snprintf(path, size, "%s%s", top, line) < size;
}

static bool move_here(const char *folder) {
    char path[8400];
    snprintf(path, sizeof path, "%s/cgroup.procs", folder);
    return put(path, "0");
}

static int remove_one(const char *path, const struct stat *there, int type, struct FTW *at) {
    static size_t removed;
    (void)there, (void)at;
    // The files in it belong to the kernel, and go with it.
    if (type != FTW_DP)
        return 0;
    if (++removed > MAX_REMOVED)
        errno = E2BIG;
    else if (rmdir(path) == 0)
        return 0;
    return -1;
}

// Removes a group with all groups in it: a systemd leaves its own behind. Processes that are still
// there have a moment to end, and are killed then.
static bool remove_group(const char *path) {
    char killer[8400];
    snprintf(killer, sizeof killer, "%s/cgroup.kill", path);
    for (int tries = 0; tries < TRIES; tries++) {
        if (tries > 0)
            usleep(100000);
        // Linux 5.14 or newer.
        if (tries >= PATIENT_TRIES)
            put(killer, "1");
        // Groups before those that they are in, each with one open file.
        if (access(path, F_OK) != 0 || nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
            return true;
        if (errno == E2BIG)
            break;
    }
    return false;
}

#define LOAD(TO, OFFSET) {BPF_LDX | BPF_MEM | BPF_W, TO, BPF_REG_1, OFFSET, 0}
#define SET(TO, VALUE) {BPF_ALU64 | BPF_MOV | BPF_K, TO, 0, 0, VALUE}
#define COPY(TO, FROM) {BPF_ALU64 | BPF_MOV | BPF_X, TO, FROM, 0, 0}
#define DO(WHAT, TO, VALUE) {BPF_ALU64 | WHAT | BPF_K, TO, 0, 0, VALUE}
#define UNLESS(REGISTER, VALUE, SKIP) {BPF_JMP | BPF_JNE | BPF_K, REGISTER, 0, SKIP, VALUE}
#define RETURN {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}
// The result is 1 for these.
#define DEVICE(MAJOR, MINOR) UNLESS(BPF_REG_4, MAJOR, 2), UNLESS(BPF_REG_5, MINOR, 1), RETURN
#define MAJOR(MAJOR) UNLESS(BPF_REG_4, MAJOR, 1), RETURN

// Everything may be made; opened may be what runc allows (libcontainer/specconv, AllowedDevices).
static bool restrict_devices(int group) {
    static const struct bpf_insn program[] = {
        LOAD(BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type)),
        LOAD(BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major)),
        LOAD(BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor)),
        COPY(BPF_REG_3, BPF_REG_2),
        DO(BPF_AND, BPF_REG_2, 0xffff), // the type
        DO(BPF_RSH, BPF_REG_3, 16),     // the access
        SET(BPF_REG_0, 1),
        UNLESS(BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 1),
        RETURN,
        UNLESS(BPF_REG_2, BPF_DEVCG_DEV_CHAR, 23),
        DEVICE(1, 3), // null
        DEVICE(1, 5), // zero
        DEVICE(1, 7), // full
        DEVICE(1, 8), // random
        DEVICE(1, 9), // urandom
        DEVICE(5, 0), // tty
        MAJOR(136),   // pts
        // ptmx, with the end of the program for all others
        UNLESS(BPF_REG_4, 5, 2),
        UNLESS(BPF_REG_5, 2, 1),
        RETURN,
        SET(BPF_REG_0, 0),
        RETURN,
    };
    union bpf_attr load = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)program,
        .insn_cnt = sizeof program / sizeof *program,
        .license = (uintptr_t) "MIT",
    };
    int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (fd < 0)
        return false;
    union bpf_attr attach = {
        .target_fd = (uint32_t)group,
        .attach_bpf_fd = (uint32_t)fd,
        .attach_type = BPF_CGROUP_DEVICE,
        .attach_flags = BPF_F_ALLOW_MULTI,
    };
    bool done = syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) == 0;
    close(fd);
    return done;
}

// The path of the group for a container that this process starts.
static bool own_group(bool may_mount, char *path, size_t size) {
    if (!folder_of("self", may_mount, path, size - sizeof NAME))
        return false;
    strcat(path, NAME);
    return true;
}

void new_group(struct run *run) {
    char path[8300];
    if (!own_group(true, path, sizeof path)) {
        note("there are no control groups of version 2, so the container may make no device files");
    } else {
        // One that was left behind has the last start's program. The kernel takes no more than 64.
        if (!remove_group(path))
            note("the control group %s of the last start cannot be removed, so it is used again: %s", path,
                 strerror(errno));
        if ((mkdir(path, 0755) != 0 && errno != EEXIST) || !move_here(path))
            fail("making the control group %s", path);
        int group = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        run->devices = run->privileged || (group >= 0 && restrict_devices(group));
        if (!run->devices)
            note("the kernel cannot check which device files are opened, so the container may make none");
        close(group);
    }
    if (unshare(CLONE_NEWCGROUP) != 0)
        fail("making a namespace of control groups");
}

void end_group(void) {
    char path[8300];
    // Where it cannot be, the next start says so.
    if (own_group(false, path, sizeof path))
        remove_group(path);
}

void enter_group(pid_t pid) {
    char process[32], path[8300];
    snprintf(process, sizeof process, "%d", (int)pid);
    // The mount is for this process only.
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) != 0)
        fail("making a namespace of mounts");
    if (!folder_of(process, true, path, sizeof path) || !move_here(path))
        fail("entering the control group of process %d", (int)pid);
}
