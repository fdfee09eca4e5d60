/* tributary-hub: the central daemon. */
#include <stdio.h>
#include "hub/api/api.h"
#include "hub/hub.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* How soon the log tells what it left out, and that the clock is not believed. */
enum { LOOK_EVERY_MS = 5000 };

static const char way[] =
    "Nothing was changed. Copy the folder, then start once with --salvage: a turned bit is turned "
    "back, what cannot be read is left out and counted. Where partitions alone are damaged, or "
    "--salvage lost something of them, --rebuild makes all of them anew from the log.";

static void look(void *hub)
{
    hub_look(hub);
}

int main(int argc, char **argv)
{
    struct hub_settings settings;
    struct hub *hub = NULL;
    struct error err;
    bool done = false;
    if (!hub_settings_read(argc, argv, &settings, &done, &err)) {
        fprintf(stderr, "tributary-hub: %s\n", err.message);
        return 2;
    }
    if (done) {
        return 0;
    }
    log_set_level(settings.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    seal_start();
    daemon_prepare();
    if (!hub_open(&settings, &hub, &err)) {
        return daemon_report_failed_start(&err, way);
    }
    log_info("ready", "Listening. http=%s port=%u link=%s", settings.http_listen,
             api_port(hub->api), settings.link_listen);
    int received = daemon_wait_for_end(LOOK_EVERY_MS, look, hub);
    log_info("stopping", "Committing what was read, then ending. signal=%d", received);
    hub_close(&hub);
    log_info("stopped", "Ended.");
    return 0;
}
