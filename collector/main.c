/* tributary-collector: the edge daemon. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "collector/collector.h"
#include "shared/log.h"

/* SIGINT and SIGTERM are waited for by the main thread alone; a closed connection is a result. */
static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct collector *collector = NULL;
    struct error err;
    sigset_t signals;
    bool done = false;
    int received = 0;
    if (!settings_read(argc, argv, &settings, &done, &err)) {
        fprintf(stderr, "tributary-collector: %s\n", err.message);
        return 2;
    }
    if (done) {
        return 0;
    }
    log_set_level(settings.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    mallopt(M_ARENA_MAX, 2); /* an arena a thread would keep several MiB each for nothing */
    seal_start();
    block_signals(&signals);
    if (!collector_open(&settings, &collector, &err)) {
        log_error("start-failed", "%s", err.message);
        return 1;
    }
    log_info("ready", "Listening. http=%s port=%u collector=%s", settings.http_listen,
             collector_port(collector), collector->enrolment.id);
    sigwait(&signals, &received);
    log_info("stopping", "Answering what was read, then ending. signal=%d", received);
    collector_close(&collector);
    log_info("stopped", "Ended.");
    return 0;
}
