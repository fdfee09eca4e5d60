/* tributary-hub: the central daemon. */
#include <pthread.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include "hub/api/api.h"
#include "hub/hub.h"
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
    struct hub_settings settings;
    struct hub *hub = NULL;
    struct error err;
    sigset_t signals;
    bool done = false;
    int received = 0;
    if (!hub_settings_read(argc, argv, &settings, &done, &err)) {
        fprintf(stderr, "tributary-hub: %s\n", err.message);
        return 2;
    }
    if (done) {
        return 0;
    }
    log_set_level(settings.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    mallopt(M_ARENA_MAX, 2); /* an arena a thread would keep several MiB each for nothing */
    seal_start();
    block_signals(&signals);
    if (!hub_open(&settings, &hub, &err)) {
        log_error("start-failed", "%s", err.message);
        return 1;
    }
    log_info("ready", "Listening. http=%s port=%u link=%s", settings.http_listen,
             api_port(hub->api), settings.link_listen);
    sigwait(&signals, &received);
    log_info("stopping", "Committing what was read, then ending. signal=%d", received);
    hub_close(&hub);
    log_info("stopped", "Ended.");
    return 0;
}
