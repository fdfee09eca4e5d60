#include "shared/log.h"

#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/timetext.h"

static _Atomic int level_max = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&level_max, (int)level);
}

static void write_line(enum log_level level, const char *id, const char *format, va_list args)
    PRINTF_LIKE(3, 0);
static void write_line(enum log_level level, const char *id, const char *format, va_list args)
{
    static const char *const names[] = {"error", "warn ", "info ", "debug"};
    char line[1024];
    struct time_text time = time_text_format(clock_now_ms(&clock_real));
    int len = snprintf(line, sizeof line, "%s %s %s  ", time.text, names[level], id);
    int more = vsnprintf(line + len, sizeof line - (size_t)len - 1, format, args);
    size_t total = (size_t)len + (more < 0 ? 0 : (size_t)more);
    total = total > sizeof line - 2 ? sizeof line - 2 : total;
    for (size_t i = 0; i < total; i++) {
        bool is_control = (uint8_t)line[i] < 0x20 || line[i] == 0x7f;
        line[i] = is_control ? '?' : line[i];
    }
    line[total] = '\n';
    /* A log that cannot be written has nowhere to complain. */
    if (write(STDERR_FILENO, line, total + 1) < 0) {
        return;
    }
}

static bool is_written(enum log_level level)
{
    return (int)level <= atomic_load(&level_max);
}

void log_write(enum log_level level, const char *id, const char *format, ...)
{
    va_list args;
    if (is_written(level)) {
        va_start(args, format);
        write_line(level, id, format, args);
        va_end(args);
    }
}

/* ---- Lines that others can cause ---- */

static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit *limits; /* those that have been used */

bool log_limit_admit(struct log_limit *limit, int64_t now_ms, uint64_t *ret_left_out)
{
    int64_t passed_ms = now_ms - limit->since_ms;
    bool begins = limit->written == 0 || passed_ms >= LOG_LIMIT_MS || passed_ms < 0;
    *ret_left_out = 0;
    if (begins) {
        *ret_left_out = limit->left_out;
        limit->left_out = 0;
        limit->written = 0;
        limit->since_ms = now_ms;
    }
    bool may = limit->written < LOG_LINES_MAX;
    limit->written += may;
    limit->left_out += !may;
    return may;
}

static void tell(enum log_level level, const char *id, uint64_t left_out)
{
    log_write(level, id, "... and %llu more like this.", (unsigned long long)left_out);
}

static int64_t now_ms(void)
{
    return clock_monotonic_ns(&clock_real) / 1000000;
}

void log_write_limited(struct log_limit *limit, enum log_level level, const char *id,
                       const char *format, ...)
{
    uint64_t left_out;
    va_list args;
    if (!is_written(level)) {
        return;
    }
    pthread_mutex_lock(&limits_lock);
    if (!limit->is_listed) {
        limit->is_listed = true;
        limit->next = limits;
        limits = limit;
    }
    limit->level = level;
    limit->id = id;
    bool may = log_limit_admit(limit, now_ms(), &left_out);
    pthread_mutex_unlock(&limits_lock);
    if (left_out > 0) {
        tell(level, id, left_out);
    }
    if (may) {
        va_start(args, format);
        write_line(level, id, format, args);
        va_end(args);
    }
}

void log_tell_left_out(void)
{
    int64_t now = now_ms();
    pthread_mutex_lock(&limits_lock);
    for (struct log_limit *l = limits; l != NULL; l = l->next) {
        if (l->left_out > 0 && now - l->since_ms >= LOG_LIMIT_MS) {
            tell(l->level, l->id, l->left_out);
            l->left_out = 0;
            l->written = 0;
        }
    }
    pthread_mutex_unlock(&limits_lock);
}

static uint8_t hash_key[crypto_shorthash_KEYBYTES];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    randombytes_buf(hash_key, sizeof hash_key);
}

struct log_hash log_hash(struct slice personal)
{
    struct log_hash result;
    uint8_t hash[crypto_shorthash_BYTES];
    pthread_once(&hash_once, make_hash_key);
    crypto_shorthash(hash, personal.data, personal.len, hash_key);
    sodium_bin2hex(result.text, sizeof result.text, hash, sizeof hash);
    return result;
}
