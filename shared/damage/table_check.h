/* Reading a table of LevelDB block by block, each against its checksum.
 *
 * The footer has none: it is held to the file's length, as the index ends where the footer begins.
 * LevelDB itself would follow a damaged footer anywhere, with an allocation as long as it says.
 *
 * Any thread; tables never change once they are written.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_TABLE_CHECK_H
#define TRIBUTARY_SHARED_DAMAGE_TABLE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TABLE_FOOTER_BYTES = 48 };

struct table_options {
    bool is_whole; /* else what LevelDB reads when it opens the table: footer, index, filter */
    /* Called behind each piece that was read, for whoever wants to be slow; may be NULL. */
    void (*pace)(void *user, uint64_t bytes);
    /* One turned bit, which explains a block or the footer; the block then counts as sound. NULL:
     * nothing is explained. */
    void (*flip)(void *user, uint64_t at, uint8_t mask);
    void *user;
};

struct table_report {
    uint64_t bytes;   /* that were read */
    uint64_t damaged; /* blocks, the footer among them */
    uint64_t damaged_bytes;
    uint64_t at;  /* the first of them */
    bool is_lost; /* not even its index can be read */
};

/* 0, or the errno of a file that cannot be opened or read; damage is a result. `bytes` is the
 * length that the MANIFEST has; a file that is shorter, or not there, is lost. */
int table_check(const char *path, uint64_t bytes, const struct table_options *options,
                struct table_report *ret);

/* Can these be the last bytes of a table of this length? */
bool table_footer_is_sound(const uint8_t footer[TABLE_FOOTER_BYTES], uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
