/* The disk as a test wants it: a folder of its own, of which nothing is left behind, and little
 * room. For tests alone. */
#ifndef TRIBUTARY_SHARED_TEST_DISK_H
#define TRIBUTARY_SHARED_TEST_DISK_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "shared/error.h"

enum { TEST_FOLDER_BYTES = 64 };

static inline void test_folder_make(char ret_path[TEST_FOLDER_BYTES])
{
    snprintf(ret_path, TEST_FOLDER_BYTES, "/tmp/tributary-test-XXXXXX");
    const char *made = mkdtemp(ret_path);
    ensure(made != NULL);
}

static inline int test_folder_remove_entry(const char *path, const struct stat *status, int type,
                                           struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void test_folder_remove(const char *path)
{
    nftw(path, test_folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* No file of this process may grow past the limit, so that writes fail in the middle, as on a full
 * disk. SIGXFSZ has to be ignored. */
static inline void test_limit_files(rlim_t bytes)
{
    struct rlimit limit;
    int rv = getrlimit(RLIMIT_FSIZE, &limit);
    ensure(rv == 0);
    limit.rlim_cur = bytes;
    rv = setrlimit(RLIMIT_FSIZE, &limit);
    ensure(rv == 0);
}

#endif
