/* The certificate of a server with TLS: read from PEM files, replaced while connections go on.
 *
 * Guarantee: the certificate in use is always a whole one whose key belongs to it. A connection
 * keeps the certificate that it began with; each lives until its last connection has ended. Files
 * that cannot be used leave the one before in use.
 *
 * Threads: tls_reload() belongs to one thread; tls_hold(), tls_release() and the reading functions
 * may be called by any.
 */
#ifndef TRIBUTARY_SHARED_TLS_H
#define TRIBUTARY_SHARED_TLS_H

#include <stdint.h>
#include "shared/error.h"

struct gnutls_session_int;

struct tls;
struct tls_certificate;

/* What the protocol allows: TLS 1.2 and 1.3, with GnuTLS's usual choice of ciphers. */
extern const char tls_priorities[];

/* Both files are PEM; the certificate's may hold its chain behind it. ERROR_INVALID says which file
 * and why. */
MUST_CHECK bool tls_open(const char *certificate_file, const char *key_file, struct tls **ret,
                         struct error *err);
/* Every certificate must have been released. Sets *tls to NULL; closing NULL is allowed. */
void tls_close(struct tls **tls);

/* Have the files changed since they were last looked at? Cheap: no bytes are read. */
bool tls_files_changed(const struct tls *tls);
/* Read the files and use what is in them from now on. Failing leaves what is in use; the same
 * files are not called changed again. */
MUST_CHECK bool tls_reload(struct tls *tls, struct error *err);

/* When the certificate in use ends, in milliseconds since 1970. */
int64_t tls_expires_ms(struct tls *tls);

/* Give a new session the certificate in use; to be released when the connection has ended. */
struct tls_certificate *tls_hold(struct tls *tls, struct gnutls_session_int *session);
void tls_release(struct tls *tls, struct tls_certificate *certificate);

#endif
