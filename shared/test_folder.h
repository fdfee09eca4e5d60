/* A folder of a test's own, and nothing of it left behind. For tests alone. */
#ifndef TRIBUTARY_SHARED_TEST_FOLDER_H
#define TRIBUTARY_SHARED_TEST_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
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

#endif
