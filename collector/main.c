/* tributary-collector: the edge daemon. */
#include <stdio.h>
#include "collector/collector.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* How soon a new certificate is noticed without a SIGHUP. */
enum { LOOK_EVERY_MS = 5000 };

static const char way[] =
    "Nothing was changed. Copy the folder, then start once with --salvage: a turned bit is turned "
    "back, what cannot be read is left out and counted.";

static void look(void *collector)
{
    collector_look(collector);
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct collector *collector = NULL;
    struct error err;
    bool done = false;
    if (!settings_read(argc, argv, &settings, &done, &err)) {
        fprintf(stderr, "tributary-collector: %s\n", err.message);
        return 2;
    }
    if (done) {
        return 0;
    }
    log_set_level(settings.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    seal_start();
    daemon_prepare();
    daemon_save_memory();
    if (!collector_open(&settings, &collector, &err)) {
        return daemon_report_failed_start(&err, way);
    }
    log_info("ready", "Listening. http=%s port=%u https_port=%u collector=%s", settings.http_listen,
             collector_port(collector), collector_https_port(collector), collector->enrolment.id);
    int received = daemon_wait_for_end(LOOK_EVERY_MS, look, collector);
    log_info("stopping", "Answering what was read, then ending. signal=%d", received);
    collector_close(&collector);
    log_info("stopped", "Ended.");
    return 0;
}
