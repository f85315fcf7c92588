/* Intercepts the system's flushes, so that a test can make one fail or some hang.
 *
 * FLUSH_FOLDER/fail holds the name of a call and, after a space, a part of a path: the next such call on such a file
 * fails with EIO without reaching the disk, and the file FLUSH_FOLDER/fail is removed.
 * FLUSH_FOLDER/hang holds parts of paths, one on each line: while it exists, flushes of such files wait.
 * FLUSH_FOLDER/calls gets a line for each call: its name, the descriptor, the result and the path; and one when the
 * descriptor whose flush failed is closed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int failed = -1;

static void in_folder(char *path, size_t size, const char *name) {
    const char *folder = getenv("FLUSH_FOLDER");
    snprintf(path, size, "%s/%s", folder ? folder : "/nowhere", name);
}

static void path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void note(const char *call, int fd, const char *result, const char *path) {
    char calls[512], line[4700];
    in_folder(calls, sizeof calls, "calls");
    int length = snprintf(line, sizeof line, "%s %d %s %s\n", call, fd, result, path);
    int to = open(calls, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0) return;
    if (write(to, line, (size_t)length) < 0) perror("calls");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    real(to);
}

/* Whether this call has to fail. Only one caller can remove the file. */
static int fails(const char *call, const char *path) {
    char file[512], want[1024];
    in_folder(file, sizeof file, "fail");
    FILE *stream = fopen(file, "re");
    if (!stream) return 0;
    char *read = fgets(want, sizeof want, stream);
    fclose(stream);
    char *part = read ? strchr(want, ' ') : NULL;
    if (!part) return 0;
    *part++ = 0;
    return !strcmp(want, call) && strstr(path, part) && !unlink(file);
}

/* Whether flushes of this path have to wait now. */
static int hangs(const char *path) {
    char file[512], part[1024];
    in_folder(file, sizeof file, "hang");
    FILE *stream = fopen(file, "re");
    if (!stream) return 0;
    int found = 0;
    while (!found && fgets(part, sizeof part, stream)) {
        part[strcspn(part, "\n")] = 0;
        found = *part && strstr(path, part);
    }
    fclose(stream);
    return found;
}

static int flush(const char *call, int fd) {
    char path[4096];
    path_of(fd, path, sizeof path);
    if (hangs(path)) {
        note(call, fd, "hangs", path);
        while (hangs(path)) usleep(5000);
    }
    if (fails(call, path)) {
        atomic_store(&failed, fd);
        note(call, fd, "EIO", path);
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    int result = real(fd), error = errno;
    note(call, fd, result ? "error" : "ok", path);
    errno = error;
    return result;
}

int fdatasync(int fd) { return flush("fdatasync", fd); }

int fsync(int fd) { return flush("fsync", fd); }

int close(int fd) {
    int expected = fd;
    if (fd >= 0 && atomic_compare_exchange_strong(&failed, &expected, -1)) note("close", fd, "ok", "-");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    return real(fd);
}
