#include "shared/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "shared/buf.h"

enum { PEM_BYTES_MAX = 256 * 1024 };

const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct tls_certificate {
    gnutls_certificate_credentials_t credentials;
    int64_t expires_ms;
    unsigned holders; /* connections, and the struct tls while it is in use */
};

/* What tells one version of a file from another. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct tls {
    const char *files[2]; /* certificate, key */
    struct stamp stamps[2];
    pthread_mutex_t lock;
    struct tls_certificate *current;
};

static struct stamp stamp_of(const char *path)
{
    struct stat s;
    if (stat(path, &s) != 0) {
        return (struct stamp){0};
    }
    return (struct stamp){s.st_dev, s.st_ino, s.st_size, s.st_mtim};
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static bool read_pem(const char *path, struct buf *ret, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(err, ERROR_INVALID, "%s: %s", path, strerror(errno));
    }
    /* Unbuffered, so that no copy of a key stays behind. */
    setvbuf(file, NULL, _IONBF, 0);
    buf_init(ret, PEM_BYTES_MAX);
    bool fits = buf_reserve(ret, PEM_BYTES_MAX);
    ensure(fits);
    ret->len = fread(ret->data, 1, PEM_BYTES_MAX, file);
    int failure = ferror(file) ? errno : 0;
    bool is_whole = feof(file) != 0;
    fclose(file);
    return (failure == 0 && is_whole) ||
           error_set(err, ERROR_INVALID, "%s: %s", path,
                     failure != 0 ? strerror(failure) : "too long for a PEM file");
}

static void wipe(struct buf *secret)
{
    if (secret->data != NULL) {
        sodium_memzero(secret->data, secret->capacity);
    }
    buf_done(secret);
}

static void free_certificate(struct tls_certificate *c)
{
    gnutls_certificate_free_credentials(c->credentials);
    free(c);
}

static bool read_expiry(struct tls_certificate *c, struct error *err)
{
    gnutls_datum_t der;
    gnutls_x509_crt_t leaf;
    int rv = gnutls_certificate_get_crt_raw(c->credentials, 0, 0, &der);
    if (rv == 0) {
        rv = gnutls_x509_crt_init(&leaf);
        ensure(rv == 0);
        rv = gnutls_x509_crt_import(leaf, &der, GNUTLS_X509_FMT_DER);
        c->expires_ms = (int64_t)gnutls_x509_crt_get_expiration_time(leaf) * 1000;
        gnutls_x509_crt_deinit(leaf);
    }
    return rv == 0 ||
           error_set(err, ERROR_INVALID, "reading its time of expiry: %s", gnutls_strerror(rv));
}

static gnutls_datum_t datum(const struct buf *buf)
{
    return (gnutls_datum_t){buf->data, (unsigned)buf->len};
}

/* GnuTLS itself checks that the key belongs to the certificate. */
static bool make_certificate(const struct buf *certificate, const struct buf *key,
                             struct tls_certificate **ret, struct error *err)
{
    struct tls_certificate *c = memory_allocate_zeroed(sizeof *c);
    gnutls_datum_t certificate_pem = datum(certificate);
    gnutls_datum_t key_pem = datum(key);
    int rv = gnutls_certificate_allocate_credentials(&c->credentials);
    ensure(rv == 0);
    c->holders = 1;
    rv = gnutls_certificate_set_x509_key_mem(c->credentials, &certificate_pem, &key_pem,
                                             GNUTLS_X509_FMT_PEM);
    bool fine = rv >= 0 || error_set(err, ERROR_INVALID, "%s", gnutls_strerror(rv));
    if (!fine || !read_expiry(c, err)) {
        free_certificate(c);
        return false;
    }
    *ret = c;
    return true;
}

static bool load(const struct tls *tls, struct tls_certificate **ret, struct error *err)
{
    struct buf certificate = {0};
    struct buf key = {0};
    bool is_read = read_pem(tls->files[0], &certificate, err) && read_pem(tls->files[1], &key, err);
    bool fine = is_read && make_certificate(&certificate, &key, ret, err);
    if (is_read && !fine) {
        error_add_context(err, "%s with %s", tls->files[0], tls->files[1]);
    }
    buf_done(&certificate);
    wipe(&key);
    return fine;
}

bool tls_open(const char *certificate_file, const char *key_file, struct tls **ret,
              struct error *err)
{
    struct tls *tls = memory_allocate_zeroed(sizeof *tls);
    tls->files[0] = strdup(certificate_file);
    tls->files[1] = strdup(key_file);
    ensure(tls->files[0] != NULL && tls->files[1] != NULL);
    pthread_mutex_init(&tls->lock, NULL);
    if (!tls_reload(tls, err)) {
        tls_close(&tls);
        return false;
    }
    *ret = tls;
    return true;
}

static void drop(struct tls *tls, struct tls_certificate *c)
{
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&tls->lock);
    bool is_last = --c->holders == 0;
    pthread_mutex_unlock(&tls->lock);
    if (is_last) {
        free_certificate(c);
    }
}

void tls_close(struct tls **tls)
{
    struct tls *t = *tls;
    if (t == NULL) {
        return;
    }
    ensure(t->current == NULL || t->current->holders == 1);
    drop(t, t->current);
    pthread_mutex_destroy(&t->lock);
    for (size_t i = 0; i < 2; i++) {
        union {
            const char *from;
            void *to;
        } cast = {.from = t->files[i]};
        free(cast.to);
    }
    free(t);
    *tls = NULL;
}

bool tls_files_changed(const struct tls *tls)
{
    for (size_t i = 0; i < 2; i++) {
        struct stamp now = stamp_of(tls->files[i]);
        if (!is_same(&now, &tls->stamps[i])) {
            return true;
        }
    }
    return false;
}

bool tls_reload(struct tls *tls, struct error *err)
{
    struct tls_certificate *fresh;
    /* Before reading: files that are replaced meanwhile are then called changed again. */
    for (size_t i = 0; i < 2; i++) {
        tls->stamps[i] = stamp_of(tls->files[i]);
    }
    if (!load(tls, &fresh, err)) {
        return false;
    }
    pthread_mutex_lock(&tls->lock);
    struct tls_certificate *old = tls->current;
    tls->current = fresh;
    pthread_mutex_unlock(&tls->lock);
    drop(tls, old);
    return true;
}

int64_t tls_expires_ms(struct tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    int64_t expires_ms = tls->current->expires_ms;
    pthread_mutex_unlock(&tls->lock);
    return expires_ms;
}

struct tls_certificate *tls_hold(struct tls *tls, struct gnutls_session_int *session)
{
    pthread_mutex_lock(&tls->lock);
    struct tls_certificate *c = tls->current;
    c->holders++;
    pthread_mutex_unlock(&tls->lock);
    int rv = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    ensure(rv == 0);
    return c;
}

void tls_release(struct tls *tls, struct tls_certificate *certificate)
{
    drop(tls, certificate);
}
