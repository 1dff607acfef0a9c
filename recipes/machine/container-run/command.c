// Starts the command, and takes care of the processes that it leaves behind.
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Whether it is a file that this user may execute; errno says why not.
static bool runs(const char *path) {
    struct stat there;
    if (stat(path, &there) != 0)
        return false;
    if (S_ISDIR(there.st_mode)) {
        errno = EACCES;
        return false;
    }
    return access(path, X_OK) == 0;
}

// The program's path: the name itself if it has a slash, otherwise looked for in PATH.
static const char *find(const char *name) {
    static char path[8192];
    if (strchr(name, '/'))
        return name;
    const char *at = getenv("PATH");
    bool denied = false;
    while (at && *name) {
        size_t size = strcspn(at, ":");
        int full = snprintf(path, sizeof path, "%.*s/%s", size > 0 ? (int)size : 1, size > 0 ? at : ".", name);
        if (full > 0 && (size_t)full < sizeof path) {
            if (runs(path))
                return path;
            denied |= errno == EACCES;
        }
        at = at[size] == ':' ? at + size + 1 : NULL;
    }
    errno = denied ? EACCES : ENOENT;
    return NULL;
}

static int replace(const struct run *run) {
    const char *name = run->command[0];
    plain_signals();
    const char *path = find(name);
    if (path)
        // Not execvp(3): it gives a file without "#!" to a shell, which engines do not.
        execve(path, run->command, environ);
    struct stat there;
    if (errno == ENOENT && strchr(name, '/') && stat(name, &there) == 0)
        note("%s cannot be started: the program that interprets it is missing", name);
    else if (errno == ENOENT && !strchr(name, '/'))
        note("%s is not an executable file in the container's PATH", name);
    else
        note("%s cannot be started: %s", name, strerror(errno));
    return errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
}

// Process 1: what loses its parent becomes its child. Signals are the command's.
static int reap(pid_t command) {
    int status, own = 0;
    for (;;) {
        int number = next_signal(0);
        if (number != 0 && number != SIGCHLD)
            kill(command, number);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (pid != command)
                continue;
            // The kernel ends all others with process 1.
            own = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            return own;
        }
    }
}

int start_command(const struct run *run) {
    if (run->first) {
        if (!run->join)
            setsid();
        return replace(run);
    }
    setsid();
    pid_t pid = fork();
    if (pid < 0)
        fail("starting a process");
    if (pid == 0) {
        setsid();
        return replace(run);
    }
    prctl(PR_SET_NAME, "init");
    return reap(pid);
}
