#include "collector/drop/utf16.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "shared/buf.h"

enum { IN_BYTES = 32 * 1024, OUT_BYTES = 2 * IN_BYTES, UNIT = 2 };

static const char replacement[] = "\xef\xbf\xbd";

struct conversion {
    iconv_t to_utf8;
    FILE *out;
    size_t len; /* of `in`, what is not converted yet */
    char in[IN_BYTES];
    char text[OUT_BYTES];
};

/* The name of the encoding that the file's first bytes tell; NULL: none of UTF-16. */
static const char *encoding_of(int fd)
{
    uint8_t mark[UNIT];
    if (pread(fd, mark, sizeof mark, 0) != (ssize_t)sizeof mark) {
        return NULL;
    }
    return mark[0] == 0xff && mark[1] == 0xfe   ? "UTF-16LE"
           : mark[0] == 0xfe && mark[1] == 0xff ? "UTF-16BE"
                                                : NULL;
}

static bool write_out(struct conversion *c, const char *text, size_t len)
{
    return len == 0 || fwrite(text, 1, len, c->out) == len;
}

/* Convert what is there, but for half a character at its end, of which the rest may come. */
static bool convert(struct conversion *c, bool is_end)
{
    char *in = c->in;
    while (c->len > 0) {
        char *out = c->text;
        size_t room = sizeof c->text;
        size_t result = iconv(c->to_utf8, &in, &c->len, &out, &room);
        int reason = errno;
        if (!write_out(c, c->text, (size_t)(out - c->text))) {
            return false;
        }
        if (result != (size_t)-1 || reason == E2BIG) {
            continue;
        }
        if (reason == EINVAL && !is_end) {
            break;
        }
        size_t wrong = c->len < UNIT ? c->len : UNIT;
        in += wrong;
        c->len -= wrong;
        if (!write_out(c, replacement, sizeof replacement - 1)) {
            return false;
        }
    }
    memmove(c->in, in, c->len);
    return true;
}

static bool copy(int fd, struct conversion *c)
{
    for (;;) {
        ssize_t n = read(fd, c->in + c->len, sizeof c->in - c->len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        c->len += n > 0 ? (size_t)n : 0;
        if (n >= 0 && !convert(c, n == 0)) {
            return false;
        }
        if (n == 0) {
            return fflush(c->out) == 0;
        }
    }
}

/* The new file under a descriptor of its own, at its start. */
static bool hand_out(FILE *out, int *ret_fd)
{
    *ret_fd = dup(fileno(out));
    if (*ret_fd >= 0 && lseek(*ret_fd, 0, SEEK_SET) == 0) {
        return true;
    }
    if (*ret_fd >= 0) {
        close(*ret_fd);
    }
    return false;
}

bool utf16_convert(int fd, int *ret_fd, struct error *err)
{
    const char *encoding = encoding_of(fd);
    *ret_fd = -1;
    if (encoding == NULL) {
        return true;
    }
    struct conversion *c = memory_allocate_zeroed(sizeof *c);
    c->to_utf8 = iconv_open("UTF-8", encoding);
    ensure(c->to_utf8 != (iconv_t)-1);
    c->out = tmpfile();
    bool fine = c->out != NULL && lseek(fd, UNIT, SEEK_SET) == UNIT && copy(fd, c) &&
                hand_out(c->out, ret_fd);
    if (!fine) {
        error_set(err, ERROR_UNAVAILABLE, "cannot make UTF-8 of the file: %s", strerror(errno));
    }
    if (c->out != NULL) {
        fclose(c->out);
    }
    iconv_close(c->to_utf8);
    free(c);
    return fine;
}
