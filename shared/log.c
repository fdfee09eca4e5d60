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

void log_write(enum log_level level, const char *id, const char *format, ...)
{
    static const char *const names[] = {"error", "warn ", "info ", "debug"};
    if ((int)level > atomic_load(&level_max)) {
        return;
    }
    char line[1024];
    struct time_text time = time_text_format(clock_now_ms(&clock_real));
    int len = snprintf(line, sizeof line, "%s %s %s  ", time.text, names[level], id);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + len, sizeof line - (size_t)len - 1, format, args);
    va_end(args);
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
