// System calls that engines refuse in a container without more capabilities (moby,
// profiles/seccomp/default.json).
//
// That profile lists what is allowed. This one lists what it leaves out and the kernel does not
// refuse by itself to a process without the capabilities; so a call that is new is not refused.
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

// Each call's number for this machine's own programs, and for those with 32 bits.
#if defined __x86_64__
#define OWN AUDIT_ARCH_X86_64
#define SMALL AUDIT_ARCH_I386
#define CALL(NAME, I386, ARM) {SYS_##NAME, I386}
enum { SMALL_CLONE = 120 };
#elif defined __aarch64__
#define OWN AUDIT_ARCH_AARCH64
#define SMALL AUDIT_ARCH_ARM
#define CALL(NAME, I386, ARM) {SYS_##NAME, ARM}
enum { SMALL_CLONE = 120 };
#else
#error "the numbers of system calls on this architecture have to be added"
#endif

static const struct {
    unsigned own, small;
} refused[] = {
    // Keys belong to users, and those of the machine's are the same.
    CALL(add_key, 286, 309),
    CALL(request_key, 287, 310),
    CALL(keyctl, 288, 311),
    // A user namespace would give all capabilities in it, and with them most of the kernel.
    CALL(unshare, 310, 337),
    CALL(setns, 346, 375),
    CALL(mount, 21, 21),
    CALL(umount2, 52, 52),
    CALL(pivot_root, 217, 218),
    CALL(open_tree, 428, 428),
    CALL(move_mount, 429, 429),
    CALL(fsopen, 430, 430),
    CALL(fsmount, 432, 432),
    // Much of the kernel, and often a way into it.
    CALL(bpf, 357, 386),
    CALL(perf_event_open, 336, 364),
    CALL(userfaultfd, 374, 388),
    CALL(io_uring_setup, 425, 425),
    CALL(io_uring_enter, 426, 426),
    CALL(io_uring_register, 427, 427),
    // Other processes, and the kernel's log.
    CALL(kcmp, 349, 378),
    CALL(syslog, 103, 103),
    CALL(fanotify_init, 338, 367),
};
enum { COUNT = sizeof refused / sizeof *refused };

#define LOAD(FIELD) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, FIELD))
#define UNLESS(VALUE, SKIP) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, VALUE, 0, SKIP)
#define RETURN(VALUE) BPF_STMT(BPF_RET | BPF_K, VALUE)
#define REFUSE(ERROR) RETURN(SECCOMP_RET_ERRNO | (ERROR))

enum { SPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET };

static size_t calls(struct sock_filter *at, bool own) {
    struct sock_filter *begin = at;
    for (int i = 0; i < COUNT; i++) {
        *at++ = (struct sock_filter)UNLESS(own ? refused[i].own : refused[i].small, 1);
        *at++ = (struct sock_filter)REFUSE(EPERM);
    }
    // The flags of clone3 are in memory, where a filter cannot see them. Programs fall back to clone.
    *at++ = (struct sock_filter)UNLESS(SYS_clone3, 1);
    *at++ = (struct sock_filter)REFUSE(ENOSYS);
    *at++ = (struct sock_filter)UNLESS(own ? SYS_clone : SMALL_CLONE, 3);
    *at++ = (struct sock_filter)LOAD(args[0]);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SPACES, 0, 1);
    *at++ = (struct sock_filter)REFUSE(EPERM);
    *at++ = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    return (size_t)(at - begin);
}

void filter_calls(void) {
    struct sock_filter program[16 + 4 * (COUNT + 8)], *at = program;
    struct sock_filter own[2 * COUNT + 16], small[2 * COUNT + 16];
    size_t own_size = calls(own, true), small_size = calls(small, false);
    *at++ = (struct sock_filter)LOAD(arch);
    *at++ = (struct sock_filter)UNLESS(OWN, (uint8_t)(own_size + 3));
    *at++ = (struct sock_filter)LOAD(nr);
    // x32: the same calls with other numbers, which kernels rarely have.
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    *at++ = (struct sock_filter)REFUSE(ENOSYS);
    for (size_t i = 0; i < own_size; i++)
        *at++ = own[i];
    *at++ = (struct sock_filter)UNLESS(SMALL, (uint8_t)(small_size + 1));
    *at++ = (struct sock_filter)LOAD(nr);
    for (size_t i = 0; i < small_size; i++)
        *at++ = small[i];
    *at++ = (struct sock_filter)REFUSE(ENOSYS);
    struct sock_fprog whole = {(unsigned short)(at - program), program};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0)
        fail("filtering system calls");
}
