// What a process in a container may do.
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The capabilities of engines' containers (moby, oci/caps/defaults.go).
static const int kept[] = {
    CAP_CHOWN,    CAP_DAC_OVERRIDE,     CAP_FOWNER,  CAP_FSETID,     CAP_KILL,  CAP_SETGID,      CAP_SETUID,
    CAP_SETPCAP,  CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT, CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP,
};

static void limit(int what, rlim_t most) {
    struct rlimit limits = {most, most}, now;
    // Without the right to raise a limit, e.g. in a container, the most that there is.
    if (setrlimit(what, &limits) == 0 || getrlimit(what, &now) != 0)
        return;
    now.rlim_cur = now.rlim_max;
    setrlimit(what, &now);
}

// Those of Docker's and containerd's own services, which their containers inherit.
void set_limits(void) {
    char text[32];
    unsigned long most = 1048576, system = 0;
    if (get("/proc/sys/fs/nr_open", text, sizeof text))
        system = strtoul(text, NULL, 10);
    limit(RLIMIT_NOFILE, system > 0 && system < most ? system : most);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    limit(RLIMIT_CORE, RLIM_INFINITY);
}

static void set_capabilities(uint64_t set) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)set, .permitted = (uint32_t)set},
        {.effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32)},
    };
    if (syscall(SYS_capset, &header, data) != 0)
        fail("setting capabilities");
}

void drop_rights(const struct run *run) {
    uint64_t set = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i] != CAP_MKNOD || run->devices || run->join)
            set |= UINT64_C(1) << kept[i];
    if (run->join && !(prctl(PR_CAPBSET_READ, CAP_MKNOD) > 0))
        set &= ~(UINT64_C(1) << CAP_MKNOD);
    // The kernel says which ones it knows, and which ones can be had here.
    for (int which = 0, there; (there = prctl(PR_CAPBSET_READ, which)) >= 0; which++) {
        if (run->privileged)
            set |= (uint64_t)there << which;
        else if (!(set >> which & 1) && prctl(PR_CAPBSET_DROP, which) != 0)
            fail("dropping a capability");
    }
    if (chdir(run->cwd) != 0)
        fail("entering the working directory %s", run->cwd);
    umask(022);
    // The input of services is the machine's /dev/null: there is one in the container.
    struct stat own, input;
    if (stat("/dev/null", &own) == 0 && fstat(0, &input) == 0 && S_ISCHR(input.st_mode) &&
        input.st_rdev == own.st_rdev) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0 && dup2(null, 0) == 0)
            close(null);
    }
    // A pipe is opened again by the name /dev/stdout only by its owner.
    for (int fd = 0; fd <= 2; fd++)
        if (fstat(fd, &input) == 0 && S_ISFIFO(input.st_mode) && fchown(fd, run->uid, (gid_t)-1) != 0)
            fail("giving the output to the user");
    // A session keyring of its own, as runc makes. A kernel may have none.
    enum { JOIN_SESSION_KEYRING = 1 };
    syscall(SYS_keyctl, JOIN_SESSION_KEYRING, "_container");
    if (!run->privileged)
        filter_calls();
    if (setgroups(run->group_count, run->groups) != 0 || setresgid(run->gid, run->gid, run->gid) != 0 ||
        setresuid(run->uid, run->uid, run->uid) != 0)
        fail("becoming the user %u:%u", run->uid, run->gid);
    // With another user they are gone.
    set_capabilities(run->uid == 0 ? set : 0);
    // So that /proc/1/fd/1 is the user's, where services of containers write their logs.
    prctl(PR_SET_DUMPABLE, 1);
}
