/* What both daemons do alike: settings from arguments, signals, their folder, waiting.
 *
 * For main.c and the modules with threads of their own; nothing here keeps state.
 */
#ifndef TRIBUTARY_SHARED_DAEMON_H
#define TRIBUTARY_SHARED_DAEMON_H

#include <pthread.h>
#include "shared/config.h"

/* An option without a value, for one start, which no file can set: "--salvage". */
struct daemon_switch {
    const char *name;
    size_t offset; /* of a bool */
    const char *sentence;
};

/* A program's settings: its name, the table, and what --help says before it. */
struct daemon_settings {
    const char *program;
    const struct config_row *rows;
    size_t count;
    const char *help;
    const struct daemon_switch *switches;
    size_t switch_count;
};

/* Defaults, then arguments and the files that they name. --help or --version alone, and
 * --print-config as the last argument, which shows what the others come to, are carried out:
 * *ret_done says that there is nothing more to do. */
MUST_CHECK bool daemon_read_settings(const struct daemon_settings *table, int argc,
                                     char *const *argv, void *settings, bool *ret_done,
                                     struct error *err);

/* Say why the start failed; the exit code for it. Where something is damaged on disk, `way` says
 * how to go on, and nothing should start the program again by itself: EXIT_DAMAGED. */
enum { EXIT_DAMAGED = 65 };
int daemon_report_failed_start(const struct error *err, const char *way);

/* Before the first thread: SIGINT, SIGTERM and SIGHUP are left to daemon_wait_for_end(), a closed
 * connection is a result, memory arenas are few, and a mapped file that the disk cannot read ends
 * the process with a line and exit code 70. */
void daemon_prepare(void);
/* Where memory counts more than the last twentieth of speed: what is over 96 KiB goes back to the
 * system as soon as it is free. Saves 2 of 25 MiB of a collector under full load. */
void daemon_save_memory(void);
/* Raise the soft limit of open files, which is 1,024 by default, to the hard one, and return what
 * it is now. Before anything that opens files. */
size_t daemon_raise_files(void);
/* What of `files` is left for connections, where so many stores keep so many tables open. */
size_t daemon_files_for_connections(size_t files, size_t stores, size_t tables);

/* Wait for SIGINT or SIGTERM; its number. Meanwhile look(user) is called at each SIGHUP and every
 * `every_ms`, and the log tells what it left out; `look` may be NULL. */
int daemon_wait_for_end(int64_t every_ms, void (*look)(void *user), void *user);

/* Make a folder for this user alone, unless it is there. */
MUST_CHECK bool daemon_make_folder(const char *path, struct error *err);

/* Start a thread, which `top -H` and debuggers show under this name of up to 15 characters. */
pthread_t daemon_start_thread(const char *name, void *(*run)(void *arg), void *arg);

/* From now on the calling thread, and those that it starts, give way to the process's others (nice
 * 5). */
void daemon_let_others_go_first(void);

/* Wait on a condition for at most `ms` milliseconds, under the lock. */
void daemon_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t ms);

#endif
