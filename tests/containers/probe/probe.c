// Prints what a process in a container finds. Static, so that it runs in every image, also in one
// without any other file.
//
//   probe [ARGUMENT...]      prints it, with the arguments
//   probe --exit N           ends with this status, or --kill N by this signal
//   probe --wait N           prints "ready", waits for signal N, prints its name, ends with 3
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

extern char **environ;

static void quoted(const char *name, const char *text) {
    printf("%s ", name);
    for (; *text; text++)
        printf(*text < ' ' || *text == '\\' ? "\\x%02x" : "%c", (unsigned char)*text);
    putchar('\n');
}

static int order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void lines(const char *path, const char *const *wanted) {
    char line[4096];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        for (const char *const *begin = wanted; *begin; begin++)
            if (strncmp(line, *begin, strlen(*begin)) == 0)
                printf("%s %s", path, line);
    if (file)
        fclose(file);
}

// Mount point, options and type, sorted.
static void mounts(void) {
    static char text[512][1024];
    char *all[512], line[4096], at[1024], options[1024], type[64];
    int count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && count < 512 && fgets(line, sizeof line, file)) {
        const char *dash = strstr(line, " - ");
        if (sscanf(line, "%*s %*s %*s %*s %1023s %1023s", at, options) == 2 && dash &&
            sscanf(dash, " - %63s", type) == 1) {
            snprintf(text[count], sizeof text[count], "mount %.500s %.400s %s", at, options, type);
            all[count] = text[count];
            count++;
        }
    }
    qsort(all, (size_t)count, sizeof *all, order);
    for (int i = 0; i < count; i++)
        puts(all[i]);
}

static void folder(const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char full[512], target[256] = "";
        struct stat at;
        snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] == '.' || lstat(full, &at) != 0)
            continue;
        if (readlink(full, target, sizeof target - 1) < 0)
            target[0] = '\0';
        printf("file %s %o %u:%u %u:%u %s\n", full, at.st_mode, at.st_uid, at.st_gid, major(at.st_rdev),
               minor(at.st_rdev), target);
    }
}

static void may(const char *what, long result) {
    printf("may %s: %s\n", what, result < 0 ? strerrorname_np(errno) : "yes");
}

static void opens(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0644);
    may(path, fd);
    if (fd >= 0)
        close(fd);
}

static void device(const char *name, mode_t kind, unsigned major_, unsigned minor_) {
    char path[64];
    snprintf(path, sizeof path, "/dev/%s", name);
    int made = mknod(path, kind | 0666, makedev(major_, minor_));
    printf("make %s: %s\n", path, made < 0 ? strerrorname_np(errno) : "yes");
    if (made == 0) {
        opens(path, O_RDONLY);
        unlink(path);
    }
}

static void calls(void) {
    may("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    may("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    may("bpf", syscall(SYS_bpf, 0, NULL, 0));
    may("syslog", syscall(SYS_syslog, 10, NULL, 0));
    may("setns", syscall(SYS_setns, -1, 0));
    may("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    may("unshare", unshare(CLONE_NEWUSER));
    may("mount", syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
    may("sethostname", sethostname("x", 1));
    may("chroot", chroot("/"));
    may("setpriority", setpriority(PRIO_PROCESS, 0, -1));
}

static void report(int count, char **words) {
    char cwd[4096];
    for (int i = 0; i < count; i++)
        quoted("word", words[i]);
    size_t variables = 0;
    while (environ[variables])
        variables++;
    qsort(environ, variables, sizeof *environ, order);
    for (size_t i = 0; i < variables; i++)
        quoted("env", environ[i]);
    uid_t u[3];
    gid_t g[3];
    getresuid(u, u + 1, u + 2);
    getresgid(g, g + 1, g + 2);
    printf("user %u %u %u group %u %u %u\n", u[0], u[1], u[2], g[0], g[1], g[2]);
    struct stat at;
    quoted("cwd", getcwd(cwd, sizeof cwd) ? cwd : "?");
    if (stat(".", &at) == 0)
        printf("cwd %o %u:%u\n", at.st_mode, at.st_uid, at.st_gid);
    mode_t mask = umask(0);
    printf("umask %o\n", mask);
    umask(mask);
    const char *const status[] = {"Groups", "Sig", "Shd", "Cap", "NoNewPrivs", "Seccomp:", NULL};
    lines("/proc/self/status", status);
    const char *const limits[] = {"Max", NULL}, *const all[] = {"", NULL};
    lines("/proc/self/limits", limits);
    lines("/proc/self/oom_score_adj", all);
    lines("/proc/self/cgroup", all);
    lines("/etc/hostname", all);
    lines("/proc/sys/net/ipv4/ip_unprivileged_port_start", all);
    printf("process %d parent %d session %d group %d\n", getpid(), getppid(), getsid(0), getpgrp());
    char name[64] = "";
    prctl(PR_GET_NAME, name);
    mounts();
    folder("/dev");
    folder("/proc/self/fd");
    for (int fd = 0; fd < 3; fd++)
        if (fstat(fd, &at) == 0)
            printf("fd %d %o %u:%u\n", fd, S_ISCHR(at.st_mode) ? S_IFCHR : at.st_mode, at.st_uid, at.st_gid);
    static const char *const writes[] = {
        "/dev/stdout", "/dev/stderr", "/proc/1/fd/1", "/dev/null", "/dev/full", "/dev/shm/x", "/dev/new",
        "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
        "/sys/new", "/sys/fs/cgroup/new", "/new", "/proc/self/oom_score_adj",
    };
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
        opens(writes[i], O_WRONLY | (strstr(writes[i], "new") || strstr(writes[i], "shm") ? O_CREAT : 0));
    opens("/proc/kcore", O_RDONLY);
    opens("/dev/tty", O_RDONLY);
    opens("/dev/ptmx", O_RDWR);
    device("disk", S_IFBLK, 254, 0);
    device("mem", S_IFCHR, 1, 1);
    device("nil", S_IFCHR, 1, 3);
    device("console", S_IFCHR, 5, 1);
    calls();
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (count == 3 && strcmp(words[1], "--exit") == 0)
        return atoi(words[2]);
    if (count == 3 && strcmp(words[1], "--kill") == 0) {
        int number = atoi(words[2]);
        signal(number, SIG_DFL);
        kill(getpid(), number);
        return 0;
    }
    if (count == 3 && strcmp(words[1], "--wait") == 0) {
        sigset_t set;
        int number = 0;
        sigemptyset(&set);
        sigaddset(&set, atoi(words[2]));
        sigprocmask(SIG_BLOCK, &set, NULL);
        puts("ready");
        fflush(stdout);
        sigwait(&set, &number);
        printf("got %d\n", number);
        return 3;
    }
    report(count, words);
    return 0;
}
