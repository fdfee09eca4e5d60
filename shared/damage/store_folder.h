/* The folder of a LevelDB, without opening it: its MANIFEST, the tables that it names, and the logs
 * that will be read again. Nothing is changed here. One thread.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_STORE_FOLDER_H
#define TRIBUTARY_SHARED_DAMAGE_STORE_FOLDER_H

#include "shared/damage/log_check.h"
#include "shared/damage/manifest.h"

enum { FOLDER_NAME_BYTES = 32, FOLDER_BYTES_MAX = 1 << 30 };

enum folder_state {
    FOLDER_NEW,     /* there is no database */
    FOLDER_READ,    /* what follows is what the MANIFEST says */
    FOLDER_DAMAGED, /* it says nothing, or not all; `why` tells why */
};

struct store_folder {
    int fd;
    enum folder_state state;
    char why[192];
    char manifest_name[FOLDER_NAME_BYTES]; /* empty where CURRENT names none */
    struct buf manifest_bytes;
    struct log_report manifest_report;
    struct manifest manifest;
    uint64_t *logs; /* that will be read again, oldest first */
    size_t log_count;
};

/* False: the folder cannot be read. Damage is a state. */
MUST_CHECK bool store_folder_open(const char *path, struct store_folder *ret, struct error *err);
void store_folder_close(struct store_folder *folder);

void store_folder_log_name(uint64_t number, char ret[FOLDER_NAME_BYTES]);
/* A table's, as it is: LevelDB of long ago called it .sst. */
void store_folder_table_name(const struct store_folder *folder, uint64_t number,
                             char ret[FOLDER_NAME_BYTES]);

/* Read a file of the folder whole; one that is not there is empty. */
MUST_CHECK bool store_folder_load(const struct store_folder *folder, const char *name,
                                  struct buf *ret, struct error *err);

/* Call `each` for every file, with its number and its ending, such as "log"; false ends it. */
MUST_CHECK bool store_folder_each(int fd,
                                  bool (*each)(void *user, uint64_t number, const char *ending),
                                  void *user, struct error *err);

#endif
