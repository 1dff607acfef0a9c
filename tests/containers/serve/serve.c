// A service for tests: says how it runs, answers HTTP with the same text, and says which signal
// stopped it.
//
// Environment: PORT (80), STOP (the signal it handles, 15), SHM, ORPHANS, WRITE: if set, it uses
// shared memory, leaves processes behind, or writes into its own root.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char report[8192];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list all;
    size_t used = strlen(report);
    va_start(all, format);
    vsnprintf(report + used, sizeof report - used, format, all);
    va_end(all);
}

// Processes that ended and that nobody waited for.
static int zombies(void) {
    char path[300], text[512];
    int count = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        size_t size = fread(text, 1, sizeof text - 1, file);
        text[size] = '\0';
        const char *end = strrchr(text, ')');
        count += end && end[2] == 'Z';
        fclose(file);
    }
    if (dir)
        closedir(dir);
    return count;
}

static void orphan(void) {
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            usleep(100000);
            _exit(0);
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int count, char **words) {
    const char *port = getenv("PORT"), *stop = getenv("STOP");
    char cwd[1024];
    gid_t groups[64];
    int number = stop ? atoi(stop) : SIGTERM;
    say("user=%u:%u euid=%u groups=", getuid(), getgid(), geteuid());
    int have = getgroups(64, groups);
    for (int i = 0; i < have; i++)
        say("%s%u", i > 0 ? "," : "", groups[i]);
    say(" cwd=%s first=%s", getcwd(cwd, sizeof cwd) ? cwd : "?", getpid() == 1 ? "yes" : "no");
    say(" A=[%s] HOME=[%s] words=%d", getenv("A") ? getenv("A") : "", getenv("HOME") ? getenv("HOME") : "", count);
    for (int i = 0; i < count; i++)
        say(" [%s]", words[i]);
    if (getenv("SHM")) {
        int fd = shm_open("/test", O_CREAT | O_RDWR, 0600);
        int done = fd >= 0 && ftruncate(fd, 40 << 20) == 0 &&
                   mmap(NULL, 40 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0) != MAP_FAILED;
        say(" shm=%s", done ? "works" : strerror(errno));
    }
    if (getenv("ORPHANS")) {
        for (int i = 0; i < 20; i++)
            orphan();
        sleep(1);
        say(" zombies=%d", zombies());
    }
    if (getenv("WRITE")) {
        FILE *file = fopen("/written", "a+");
        if (file) {
            fseek(file, 0, SEEK_END);
            say(" starts before=%ld", ftell(file));
            fputc('x', file);
            fclose(file);
            sync();
        } else
            say(" written=%s", strerror(errno));
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port ? (in_port_t)atoi(port) : 80)};
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, (struct sockaddr *)&at, sizeof at) != 0 || listen(socket_, 8) != 0)
        say(" listen=%s", strerror(errno));
    // By name, as programs for containers do.
    FILE *out = fopen("/dev/stdout", "w");
    fprintf(out ? out : stdout, "serve: %s\n", report);
    fflush(out ? out : stdout);
    struct pollfd both[] = {{.fd = signals, .events = POLLIN}, {.fd = socket_, .events = POLLIN}};
    for (;;) {
        poll(both, 2, -1);
        if (both[0].revents) {
            fprintf(stderr, "serve: stopped by %d\n", number);
            return 0;
        }
        int client = accept(socket_, NULL, NULL);
        if (client < 0)
            continue;
        char request[1024];
        struct timeval patience = {5, 0};
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (read(client, request, sizeof request) > 0)
            dprintf(client, "HTTP/1.0 200 OK\r\n\r\nserve: %s\n", report);
        close(client);
    }
}
