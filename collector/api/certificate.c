#include "collector/api/certificate.h"

#include <stdlib.h>
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/metrics.h"
#include "shared/timetext.h"

enum { DAY_MS = 24 * 3600 * 1000, WARN_DAYS = 14 };

struct certificate {
    struct tls *tls;
    int64_t warned_ms; /* 0: not yet */
};

/* Renewals usually come 30 days before the end: at 14 something is wrong. */
static void warn_of_end(struct certificate *c)
{
    int64_t now = clock_now_ms(&clock_real);
    int64_t expires_ms = tls_expires_ms(c->tls);
    int64_t left_ms = expires_ms - now;
    bool is_near = left_ms < (int64_t)WARN_DAYS * DAY_MS;
    if (!is_near || (c->warned_ms != 0 && now - c->warned_ms < DAY_MS)) {
        return;
    }
    c->warned_ms = now;
    log_warn("certificate-expires", "%s expires=%s",
             left_ms < 0 ? "The TLS certificate has expired: clients refuse it. Renew it."
                         : "The TLS certificate expires soon. Renew it.",
             time_text_format(expires_ms).text);
}

bool certificate_open(const char *certificate_file, const char *key_file, struct certificate **ret,
                      struct error *err)
{
    struct certificate *c;
    struct tls *tls;
    if (!tls_open(certificate_file, key_file, &tls, err)) {
        return error_add_context(err, "tls_certificate, tls_key");
    }
    c = memory_allocate_zeroed(sizeof *c);
    c->tls = tls;
    warn_of_end(c);
    *ret = c;
    return true;
}

void certificate_close(struct certificate **certificate)
{
    if (*certificate != NULL) {
        tls_close(&(*certificate)->tls);
        free(*certificate);
        *certificate = NULL;
    }
}

struct tls *certificate_tls(struct certificate *c)
{
    return c->tls;
}

void certificate_look(struct certificate *c)
{
    struct error err;
    if (tls_files_changed(c->tls)) {
        c->warned_ms = 0;
        if (tls_reload(c->tls, &err)) {
            log_info("certificate-changed", "New connections get the new certificate. expires=%s",
                     time_text_format(tls_expires_ms(c->tls)).text);
        } else {
            log_error("certificate-refused",
                      "%s. The certificate before stays in use; put a matching pair in place.",
                      err.message);
        }
    }
    warn_of_end(c);
}

void certificate_put_metrics(struct certificate *c, struct buf *out)
{
    metrics_put(out, "tributary_collector_tls_certificate_expires_seconds", "gauge",
                "When the TLS certificate expires, in seconds since 1970.",
                (double)tls_expires_ms(c->tls) / 1000);
}
