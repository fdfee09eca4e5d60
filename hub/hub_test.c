/* How the limit of open files is shared out. */
#include "hub/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_the_stores_have_theirs_and_connections_share_the_rest(void **state)
{
    static const struct {
        size_t files;
        int64_t partitions;
        size_t http;
        size_t link;
    } rows[] = {
        {1 << 20, 16, 1024, 16384}, /* room for all that the settings ask for */
        {65536, 16, 1024, 16384},   /* as the unit has it */
        {1024, 16, 139, 417},       /* what is usual without a unit */
        {400, 4, 38, 114},
        {64, 16, 4, 12}, /* too few for anything: some may come all the same */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hub_settings settings = {.partitions = rows[i].partitions,
                                        .connections_max = 1024,
                                        .link_connections_max = 16384};
        struct hub_files shares = hub_share_files(&settings, rows[i].files);
        if (shares.http_connections != rows[i].http || shares.link_connections != rows[i].link) {
            fail_msg("%zu files: http=%zu link=%zu", rows[i].files, shares.http_connections,
                     shares.link_connections);
        }
        size_t connections = shares.http_connections + shares.link_connections;
        assert_true(rows[i].files == 64 || connections + rows[i].files / 5 < rows[i].files);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_stores_have_theirs_and_connections_share_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
