/* Preloaded into a daemon: its syncs wait for as long as the file named by STALL_WHILE exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_as(const char *name, int fd)
{
    const char *flag = getenv("STALL_WHILE");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    while (flag != NULL && access(flag, F_OK) == 0) {
        usleep(1000);
    }
    return real(fd);
}

int fdatasync(int fd)
{
    return sync_as("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_as("fsync", fd);
}
