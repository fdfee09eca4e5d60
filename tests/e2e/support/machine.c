/* A machine whose clock and boots the tests decide, preloaded into a daemon: the wall clock and the
 * time since boot are moved by what stands in the file MACHINE_CLOCK (two 64-bit numbers of
 * milliseconds, changed while the daemon runs), and the boot's id is read from the file
 * MACHINE_BOOT_ID. The monotonic clock, by which threads wait, is left alone.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const volatile int64_t *moved_ms; /* wall, boot */

static void open_clock(void)
{
    int fd = open(getenv("MACHINE_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED) {
        abort();
    }
    moved_ms = map;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
    int rv = (int)syscall(SYS_clock_gettime, id, ret);
    pthread_once(&once, open_clock);
    int64_t ms = id == CLOCK_REALTIME ? moved_ms[0] : id == CLOCK_BOOTTIME ? moved_ms[1] : 0;
    int64_t ns = ret->tv_nsec + ms % 1000 * 1000000;
    ret->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns >= 1000000000 ? 1 : 0);
    ret->tv_nsec = ns < 0 ? ns + 1000000000 : ns >= 1000000000 ? ns - 1000000000 : ns;
    return rv;
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *, const char *);
    *(void **)&next = dlsym(RTLD_NEXT, "fopen");
    bool is_boot_id = strcmp(path, "/proc/sys/kernel/random/boot_id") == 0;
    return next(is_boot_id ? getenv("MACHINE_BOOT_ID") : path, mode);
}
