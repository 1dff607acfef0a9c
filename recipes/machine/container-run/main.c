// Options, and the process that stays outside of the container.
//
//   container-run --root DIR [OPTION...] -- COMMAND [ARGUMENT...]
//   container-run --join [OPTION...] -- COMMAND [ARGUMENT...]
//
// The command gets the environment of this program, which is not on any command line: those can be
// read by all users of a machine.
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The file with the number of process 1, empty until it is ready. It is locked as long as the
// container runs.
#define MAIN_FILE "main"
// How often the machine's files are looked at, in seconds.
enum { LOOK = 5 };
// How often the lock is tried. Between two tries is a twentieth of a second.
enum { LOCK_TRIES = 20 };

const char *const shared[SHARED] = {"hosts", "hostname", "resolv.conf"};

void fail(const char *format, ...) {
    int error = errno;
    va_list all;
    va_start(all, format);
    fputs("container-run: ", stderr);
    vfprintf(stderr, format, all);
    fprintf(stderr, ": %s\n", strerror(error));
    va_end(all);
    exit(FAILED);
}

void note(const char *format, ...) {
    va_list all;
    va_start(all, format);
    fputs("container-run: ", stderr);
    vfprintf(stderr, format, all);
    fputc('\n', stderr);
    va_end(all);
}

static bool write_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t done = write(fd, text, size);
        if (done < 0)
            return false;
        text += done;
        size -= (size_t)done;
    }
    return true;
}

bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = write_all(fd, text, strlen(text));
    return close(fd) == 0 && done;
}

bool get(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got < 0 ? 0 : got] = '\0';
    return got >= 0;
}

// A C library keeps some real-time signals for itself, but an image may stop with any of them: the
// kernel is asked directly.
enum { SIGNAL_BYTES = 8 };

static void block(unsigned long long mask) {
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, SIGNAL_BYTES) != 0)
        fail("blocking signals");
}

void plain_signals(void) {
    const unsigned long standard[4] = {0};
    for (int number = 1; number < NSIG; number++)
        syscall(SYS_rt_sigaction, number, standard, NULL, SIGNAL_BYTES);
    block(0);
}

void hold_signals(void) {
    unsigned long long errors = 0;
    const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        errors |= 1ull << (numbers[i] - 1);
    block(~errors);
}

int next_signal(int seconds) {
    unsigned long long all = ~0ull;
    struct {
        long long seconds, nanoseconds;
    } time = {seconds, 0};
    long number = syscall(SYS_rt_sigtimedwait, &all, NULL, seconds > 0 ? &time : NULL, SIGNAL_BYTES);
    return number > 0 ? (int)number : 0;
}

static const char *in(const struct run *run, const char *name) {
    static char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", run->state, name) >= sizeof path) {
        errno = ENAMETOOLONG;
        fail("%s", run->state);
    }
    return path;
}

// Copies one of the machine's files for the container, into the same file as before: that is the
// one which is mounted in the container.
static void copy_shared(const struct run *run, const char *name) {
    static char text[1 << 16];
    char from[64];
    snprintf(from, sizeof from, "/etc/%s", name);
    if (strcmp(name, "hostname") == 0) {
        if (gethostname(text, sizeof text - 1) != 0)
            fail("reading the host name");
        strcat(text, "\n");
    } else if (!get(from, text, sizeof text)) {
        // It may be written later, e.g. when the network is up.
        text[0] = '\0';
    }
    int fd = open(in(run, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || fchmod(fd, 0644) != 0 || !write_all(fd, text, strlen(text)))
        fail("writing %s", in(run, name));
    close(fd);
}

// Copies the files that changed on the machine since the last call. What the container wrote into
// its own stays until then.
static void refresh_shared(const struct run *run, bool always) {
    static struct stat seen[SHARED];
    for (int i = 0; i < SHARED; i++) {
        char from[64];
        struct stat now = {0};
        snprintf(from, sizeof from, "/etc/%s", shared[i]);
        // It may not exist.
        if (stat(from, &now) != 0)
            memset(&now, 0, sizeof now);
        bool same = now.st_ino == seen[i].st_ino && now.st_dev == seen[i].st_dev &&
                    now.st_size == seen[i].st_size && now.st_mtim.tv_sec == seen[i].st_mtim.tv_sec &&
                    now.st_mtim.tv_nsec == seen[i].st_mtim.tv_nsec;
        if (always || !same)
            copy_shared(run, shared[i]);
        seen[i] = now;
    }
}

// Waits for the process and passes all signals on to it. Ends as it ends.
static int watch(const struct run *run, pid_t pid) {
    int status;
    for (;;) {
        int number = next_signal(run->join ? 0 : LOOK);
        if (number == 0 && !run->join)
            refresh_shared(run, false);
        else if (number != 0 && number != SIGCHLD)
            kill(pid, number);
        if (number == SIGCHLD && waitpid(pid, &status, WNOHANG) == pid)
            break;
    }
    if (!run->join) {
        unlink(in(run, MAIN_FILE));
        end_group();
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    // The service manager is to see the same as if it had started the command itself, but one core
    // dump is enough.
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    plain_signals();
    raise(WTERMSIG(status));
    return 128 + WTERMSIG(status);
}

// The process ends if this one, its parent, is killed.
static void end_with_parent(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        fail("asking for the end of the parent");
}

// Locks the file, so that nobody starts the container a second time: the second one would take the
// control group away from the first.
static int lock_state(const struct run *run) {
    int fd = open(in(run, MAIN_FILE), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        fail("opening %s", in(run, MAIN_FILE));
    // Whoever wants to join has the lock for a moment, too.
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
            fail("locking %s, because the container runs already", in(run, MAIN_FILE));
        usleep(50000);
    }
    // What a start that was killed left in it.
    if (ftruncate(fd, 0) != 0)
        fail("writing %s", in(run, MAIN_FILE));
    return fd;
}

static int run_container(struct run *run) {
    int ready[2];
    char byte;
    if (mkdir(run->state, 0755) != 0 && errno != EEXIST)
        fail("making the folder %s", run->state);
    int lock = lock_state(run);
    refresh_shared(run, true);
    if (pipe2(ready, O_CLOEXEC) != 0)
        fail("making a pipe");
    hold_signals();
    // Like fork(2), into new namespaces.
    long pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        fail("making namespaces");
    if (pid == 0) {
        close(ready[0]);
        // It would last as long as this process, not as its parent.
        close(lock);
        make_room(run);
        set_limits();
        drop_rights(run);
        // Changing the user has cleared it.
        end_with_parent();
        if (write(ready[1], "", 1) != 1)
            fail("telling that all is ready");
        close(ready[1]);
        return start_command(run);
    }
    close(ready[1]);
    // The file stays open for its lock.
    if (read(ready[0], &byte, 1) == 1 && dprintf(lock, "%ld\n", pid) < 0)
        fail("writing %s", in(run, MAIN_FILE));
    close(ready[0]);
    return watch(run, (pid_t)pid);
}

// Enters the namespaces of the running container, and runs a command there.
static int join(struct run *run) {
    static const char *const spaces[] = {"ipc", "cgroup", "pid", "mnt"};
    enum { COUNT = sizeof spaces / sizeof *spaces };
    char text[32], path[64];
    int fds[COUNT];
    int lock = open(in(run, MAIN_FILE), O_RDONLY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) == 0) {
        note("the container does not run");
        return FAILED;
    }
    close(lock);
    if (!get(in(run, MAIN_FILE), text, sizeof text))
        fail("reading %s", in(run, MAIN_FILE));
    pid_t pid = (pid_t)atoi(text);
    if (pid <= 0) {
        note("the container is not ready yet");
        return FAILED;
    }
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, spaces[i]);
        if ((fds[i] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            fail("opening %s", path);
    }
    enter_group(pid);
    for (size_t i = 0; i < COUNT; i++)
        if (setns(fds[i], 0) != 0)
            fail("entering the namespace %s of process %d", spaces[i], (int)pid);
    hold_signals();
    pid_t child = fork();
    if (child < 0)
        fail("starting a process");
    if (child == 0) {
        run->first = true;
        set_limits();
        drop_rights(run);
        end_with_parent();
        return start_command(run);
    }
    return watch(run, child);
}

static unsigned number(const char *text, char **rest) {
    errno = 0;
    unsigned long value = strtoul(text, rest, 10);
    if (errno != 0 || *rest == text || *text == '-' || value > 0xfffffffe) {
        errno = EINVAL;
        fail("%s is no number of a user or group", text);
    }
    return (unsigned)value;
}

// UID:GID[:GROUP,GROUP...]
static void user(struct run *run, const char *text) {
    char *rest;
    run->uid = number(text, &rest);
    if (*rest == ':')
        run->gid = number(rest + 1, &rest);
    while ((*rest == ':' || *rest == ',') && run->group_count < MAX_GROUPS)
        run->groups[run->group_count++] = number(rest + 1, &rest);
    if (*rest != '\0') {
        errno = EINVAL;
        fail("--user %s", text);
    }
}

int main(int count, char **words) {
    static struct run run = {.state = "/run/container", .cwd = "/", .shm_size = "67108864"};
    int at = 1;
    for (; at < count && strcmp(words[at], "--") != 0; at++) {
        const char *name = words[at];
        const struct {
            const char *name;
            bool *target;
        } switches[] = {
            {"--join", &run.join},
            {"--process-1", &run.first},
            {"--systemd", &run.systemd},
            {"--privileged", &run.privileged},
        };
        const struct {
            const char *name;
            const char **target;
        } values[] = {
            {"--root", &run.root},
            {"--state", &run.state},
            {"--cwd", &run.cwd},
            {"--shm-size", &run.shm_size},
        };
        bool known = false;
        for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
            if (strcmp(name, switches[i].name) == 0)
                known = *switches[i].target = true;
        for (size_t i = 0; !known && at + 1 < count && i < sizeof values / sizeof *values; i++)
            if (strcmp(name, values[i].name) == 0) {
                *values[i].target = words[++at];
                known = true;
            }
        if (!known && at + 1 < count && strcmp(name, "--user") == 0) {
            user(&run, words[++at]);
            known = true;
        }
        if (!known && at + 1 < count && strcmp(name, "--folder") == 0 && run.folder_count < MAX_FOLDERS) {
            run.folders[run.folder_count++] = words[++at];
            known = true;
        }
        if (!known) {
            note("the option %s is unknown, or lacks its value", name);
            return FAILED;
        }
    }
    run.command = words + at + 1;
    if (at + 1 >= count || (!run.join && !run.root)) {
        note("usage: container-run --root DIR|--join [OPTION...] -- COMMAND [ARGUMENT...]");
        return FAILED;
    }
    return run.join ? join(&run) : run_container(&run);
}
