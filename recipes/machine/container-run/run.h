// Runs the command of a container in the folder that holds the container's files.
//
// main.c     options, and the process that stays outside: it passes signals on
// room.c     the mounts: what a container engine puts into a container, and what it hides
// group.c    the control group, and the device files that may be opened
// rights.c   limits, capabilities, the user
// filter.c   system calls that container engines refuse
// command.c  starts the command; the reaper
#ifndef RUN_H
#define RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// Exit statuses, as `docker run` has them.
enum { FAILED = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

// Largest number of additional groups (Linux, NGROUPS_MAX is 65536; nobody has as many).
enum { MAX_GROUPS = 1024 };
// Largest number of folders to make. An image names few volumes.
enum { MAX_FOLDERS = 1024 };

struct run {
    const char *root;     // the folder with the container's files
    const char *state;    // the folder for the files of the running container
    const char *cwd;      // the working directory, in the container
    const char *shm_size; // of /dev/shm, in bytes
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS];
    size_t group_count;
    bool join;       // runs one more command in the running container
    bool first;      // the command itself is process 1, without the reaper
    bool systemd;    // the command is systemd
    bool privileged; // nothing is taken away or hidden
    bool devices;    // whether the kernel checks which device files are opened
    const char *folders[MAX_FOLDERS]; // that have to exist, in the container
    size_t folder_count;
    char **command;
};

// Says what failed, with errno's text, and ends with the status FAILED.
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
// The same without errno, and goes on.
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Writes a text into an existing file. Returns whether it could.
bool put(const char *path, const char *text);
// Reads the beginning of a file as a text. Returns whether it could.
bool get(const char *path, char *text, size_t size);
// Sets all signals to what they are in a new program, none blocked.
void plain_signals(void);
// All signals but those of programming errors are blocked from now on, to be waited for.
void hold_signals(void);
// Waits for a signal; 0 after `seconds` without one.
int next_signal(int seconds);

// The files of the machine that a container has copies of, in the folder `state`.
#define SHARED 3
extern const char *const shared[SHARED];

void make_room(struct run *run);
void make_folder(const char *path);

// Enters a control group of the container's own, below that of this process.
void new_group(struct run *run);
// Removes that group, if all in it have ended.
void end_group(void);
// Enters the control group of the process `pid`.
void enter_group(pid_t pid);

void set_limits(void);
void drop_rights(const struct run *run);
void filter_calls(void);

// Starts the command. Returns only in a process 1 that reaps, with the status to end with.
int start_command(const struct run *run);

#endif
