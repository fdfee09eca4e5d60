/* The certificate of the HTTPS port, looked after: replaced when its files change, and complained
 * about in time before it expires.
 *
 * certificate_look() belongs to one thread, the metrics may be read by any. Logs each change, each
 * refusal, and once a day that the end is near.
 */
#ifndef TRIBUTARY_COLLECTOR_CERTIFICATE_H
#define TRIBUTARY_COLLECTOR_CERTIFICATE_H

#include "shared/buf.h"
#include "shared/tls.h"

struct certificate;

MUST_CHECK bool certificate_open(const char *certificate_file, const char *key_file,
                                 struct certificate **ret, struct error *err);
/* Every connection must have ended. Sets *certificate to NULL; closing NULL is allowed. */
void certificate_close(struct certificate **certificate);

struct tls *certificate_tls(struct certificate *certificate);

/* To be called every few seconds: two stat() calls while nothing changes. Files that cannot be used
 * are refused, and what is in use stays. */
void certificate_look(struct certificate *certificate);

void certificate_put_metrics(struct certificate *certificate, struct buf *out);

#endif
