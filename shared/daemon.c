#include "shared/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "shared/buf.h"
#include "shared/log.h"
#include "shared/version.h"

/* FILES_OF_STORE: its log, its list of tables, its lock, and what a compaction writes.
 * FILES_OF_PROCESS: listening sockets, epoll, a certificate that is read, connections on their way
 * out. FILES_MAX: more than both ports and a fleet can use. FILES_ASSUMED: what POSIX has as a
 * default.
 */
enum {
    FILES_OF_STORE = 8,
    FILES_OF_PROCESS = 128,
    FILES_FOR_CONNECTIONS_MIN = 16,
    FILES_MAX = 1 << 20,
    FILES_ASSUMED = 1024,
};
enum { ARENAS_MAX = 2, LARGE_BYTES = 96 * 1024, KEPT_BYTES = 4 * 1024 * 1024 };

static void print_help(const struct daemon_settings *table)
{
    printf("%s\nsettings:\n", table->help);
    for (size_t i = 0; i < table->count; i++) {
        printf("  --%-20s %s [%s]\n", table->rows[i].name, table->rows[i].sentence,
               table->rows[i].initial);
    }
    printf("%s", table->switch_count > 0 ? "\nfor one start:\n" : "");
    for (size_t i = 0; i < table->switch_count; i++) {
        printf("  --%-20s %s\n", table->switches[i].name, table->switches[i].sentence);
    }
}

/* The switches are carried out and left out of the list, which is the caller's to free. */
static char **take_switches(const struct daemon_settings *table, int *argc, char *const *argv,
                            void *settings)
{
    char **left = memory_allocate(((size_t)*argc + 1) * sizeof *left);
    int count = 0;
    for (int i = 0; i < *argc; i++) {
        const struct daemon_switch *found = NULL;
        for (size_t s = 0; s < table->switch_count && found == NULL; s++) {
            bool is_it =
                strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, table->switches[s].name) == 0;
            found = is_it ? &table->switches[s] : NULL;
        }
        if (found != NULL) {
            *(bool *)((uint8_t *)settings + found->offset) = true;
        } else {
            left[count++] = argv[i];
        }
    }
    left[count] = NULL;
    *argc = count;
    return left;
}

static bool read_arguments(const struct daemon_settings *table, int argc, char *const *argv,
                           void *settings, struct error *err)
{
    int used = 0;
    char **left = take_switches(table, &argc, argv, settings);
    bool fine =
        config_read_arguments(table->rows, table->count, argc, left, settings, &used, err) &&
        (used == argc ||
         error_set(err, ERROR_INVALID, "\"%s\" is no option; --help lists them", left[used]));
    free(left);
    return fine;
}

bool daemon_read_settings(const struct daemon_settings *table, int argc, char *const *argv,
                          void *settings, bool *ret_done, struct error *err)
{
    config_defaults(table->rows, table->count, settings);
    *ret_done = true;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_help(table);
        return true;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", table->program, TRIBUTARY_VERSION);
        return true;
    }
    *ret_done = argc >= 2 && strcmp(argv[argc - 1], "--print-config") == 0;
    argc -= *ret_done;
    if (!read_arguments(table, argc, argv, settings, err)) {
        return false;
    }
    if (*ret_done) {
        config_print(table->rows, table->count, settings, stdout);
    }
    return true;
}

static void awaited_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGHUP);
}

int daemon_report_failed_start(const struct error *err, const char *way)
{
    log_error("start-failed", "%s", err->message);
    if (err->kind != ERROR_CORRUPT) {
        return 1;
    }
    log_error("damaged", "%s", way);
    return EXIT_DAMAGED;
}

static void on_bus_error(int signal)
{
    static const char line[] =
        "error disk-failed  A file of a store, which is mapped, could not be read from the disk.\n";
    ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
    (void)ignored;
    (void)signal;
    _exit(70);
}

void daemon_prepare(void)
{
    sigset_t signals;
    awaited_signals(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGBUS, on_bus_error);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write that fails is a result too */
    /* An arena for each thread would keep several MiB for nothing. */
    mallopt(M_ARENA_MAX, ARENAS_MAX);
}

void daemon_save_memory(void)
{
    /* Between the others large pieces would leave holes. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

int daemon_wait_for_end(int64_t every_ms, void (*look)(void *user), void *user)
{
    struct timespec timeout = {every_ms / 1000, every_ms % 1000 * 1000000};
    sigset_t signals;
    awaited_signals(&signals);
    for (;;) {
        int received = sigtimedwait(&signals, NULL, &timeout);
        if (received == SIGINT || received == SIGTERM) {
            log_tell_left_out();
            return received;
        }
        if (received == SIGHUP || errno == EAGAIN) {
            log_tell_left_out();
            if (look != NULL) {
                look(user);
            }
        }
    }
}

size_t daemon_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return FILES_ASSUMED;
    }
    rlim_t most =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > FILES_MAX ? FILES_MAX : limit.rlim_max;
    if (limit.rlim_cur < most) {
        limit.rlim_cur = most;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur > FILES_MAX ? FILES_MAX : (size_t)limit.rlim_cur;
}

size_t daemon_files_for_connections(size_t files, size_t stores, size_t tables)
{
    size_t kept = FILES_OF_PROCESS + stores * FILES_OF_STORE + tables;
    return files < kept + FILES_FOR_CONNECTIONS_MIN ? FILES_FOR_CONNECTIONS_MIN : files - kept;
}

bool daemon_make_folder(const char *path, struct error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return true;
    }
    return error_set(err, ERROR_UNAVAILABLE, "cannot make the folder %s: %s", path,
                     strerror(errno));
}

void daemon_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t ms)
{
    struct timespec until;
    /* Not the wall clock, which somebody may set meanwhile. */
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &until);
}

pthread_t daemon_start_thread(const char *name, void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    int rv = pthread_create(&thread, NULL, run, arg);
    ensure(rv == 0);
    (void)pthread_setname_np(thread, name); /* it may have ended already */
    return thread;
}

void daemon_let_others_go_first(void)
{
    /* Of the thread alone, on Linux; where it is not allowed all are equal. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), 5);
}
