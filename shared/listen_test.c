#include "shared/listen.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void test_a_socket_is_found_by_its_name_and_for_this_process_alone(void **state)
{
    static const struct {
        const char *pid;
        const char *fds;
        const char *names;
        const char *name;
        int fd;
    } rows[] = {
        {"7", "1", "http", "http", 3},
        {"7", "2", "http:https", "http", 3},
        {"7", "2", "http:https", "https", 4},
        {"7", "3", "a::https", "https", 5},
        {"7", "2", "https:http", "http", 4},
        {"8", "1", "http", "http", -1},
        {"7x", "1", "http", "http", -1},
        {"", "1", "http", "http", -1},
        {NULL, "1", "http", "http", -1},
        {"7", NULL, "http", "http", -1},
        {"7", "1", NULL, "http", -1},
        {"7", "0", "http", "http", -1},
        {"7", "-1", "http", "http", -1},
        {"7", "99999999999999999999", "http", "http", -1},
        {"7", "1025", "http", "http", -1},
        {"7", "1", "https", "http", -1},
        {"7", "1", "htt", "http", -1},
        {"7", "1", "a:http", "http", -1}, /* more names than sockets */
        {"7", "3", "http", "https", -1},  /* more sockets than names */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = listen_find_inherited(rows[i].pid, rows[i].fds, rows[i].names, rows[i].name, 7);
        if (fd != rows[i].fd) {
            fail_msg("row %zu gave %d", i, fd);
        }
    }
}

static void test_a_free_port_is_told_and_a_taken_one_is_an_error(void **state)
{
    struct listen_socket first;
    struct listen_socket second;
    struct error err;
    char address[32];
    (void)state;
    assert_true(listen_open("127.0.0.1:0", "nobody-handed-this-over", &first, &err));
    assert_false(first.is_inherited);
    assert_true(listen_port(&first) > 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", listen_port(&first));
    assert_false(listen_open(address, NULL, &second, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(err.message, address));
    close(first.fd);
    assert_true(listen_open(address, NULL, &second, &err));
    close(second.fd);
    assert_true(listen_open("[::1]:0", NULL, &second, &err));
    assert_true(listen_port(&second) > 0);
    close(second.fd);
}

static bool is_reached(const char *host, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
    bool is = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is;
}

static void test_a_wide_one_takes_both_families_and_names(void **state)
{
    struct listen_socket socket;
    struct error err;
    (void)state;
    assert_true(listen_open("[::]:0", NULL, &socket, &err));
    assert_false(is_reached("127.0.0.1", listen_port(&socket)));
    close(socket.fd);
    assert_true(listen_open_wide("[::]:0", &socket, &err));
    assert_true(is_reached("127.0.0.1", listen_port(&socket)));
    close(socket.fd);
    assert_false(listen_open("localhost:0", NULL, &socket, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_true(listen_open_wide("localhost:0", &socket, &err));
    close(socket.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_socket_is_found_by_its_name_and_for_this_process_alone),
        cmocka_unit_test(test_a_free_port_is_told_and_a_taken_one_is_an_error),
        cmocka_unit_test(test_a_wide_one_takes_both_families_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
