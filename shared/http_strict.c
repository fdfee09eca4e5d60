#include "shared/http_strict.h"

#include <string.h>
#include <strings.h>
#include "shared/slice.h"

enum { LINE_END_BYTES = 2 };

struct look {
    const char *next; /* where the next line begins, if nothing was passed over */
    bool has_gap;
    bool has_wrong_name;
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool is_chunked;
};

/* The signs that a name may have (RFC 9110, "token"). */
static bool is_token(const char *text, size_t len)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && (c == 0 || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return len > 0;
}

static bool is_name(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(key, name, len) == 0;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                 size_t key_len, const char *value, size_t value_len)
{
    struct look *look = cls;
    (void)kind;
    look->has_gap = look->has_gap || key != look->next;
    look->has_wrong_name = look->has_wrong_name || !is_token(key, key_len);
    look->has_gap = look->has_gap || (value_len > 0 && memchr(value, '\r', value_len) != NULL);
    look->next = value == NULL ? NULL : value + value_len + LINE_END_BYTES;
    if (is_name(key, key_len, "Host")) {
        look->hosts++;
    } else if (is_name(key, key_len, "Content-Length")) {
        look->lengths++;
    } else if (is_name(key, key_len, "Transfer-Encoding")) {
        look->codings++;
        look->is_chunked = value != NULL && is_name(value, value_len, "chunked");
    }
    return MHD_YES;
}

static const char *fault_of(const struct look *look, bool is_1_0)
{
    if (look->has_gap) {
        return "The first line has other than two spaces in it, or a line of the head does not end "
               "in "
               "CR LF, is folded, or has a CR or a NUL in it.";
    }
    if (look->has_wrong_name) {
        return "The name of a header has signs in it that a name cannot have, or a space behind "
               "it.";
    }
    if (look->hosts > 1 || (look->hosts == 0 && !is_1_0)) {
        return "A request has one Host.";
    }
    if (look->lengths > 1) {
        return "A request has one Content-Length.";
    }
    if (look->codings > 0 && (look->codings > 1 || !look->is_chunked || is_1_0)) {
        return "The only Transfer-Encoding that is understood is chunked, once, of HTTP/1.1.";
    }
    if (look->codings > 0 && look->lengths > 0) {
        return "A request has a Content-Length or is chunked, and not both.";
    }
    return NULL;
}

const char *http_strict_fault(struct MHD_Connection *connection, const char *method,
                              struct slice uri, const char *version)
{
    const uint8_t *end = uri.data + uri.len;
    struct look look = {.next = version + strlen(version) + LINE_END_BYTES};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    look.has_gap = (const uint8_t *)method + strlen(method) + 1 != uri.data ||
                   (const uint8_t *)version != end + 1;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &look);
    /* Behind the last line there is an empty one, and the head has ended. */
    look.has_gap =
        look.has_gap || info == NULL || look.next + LINE_END_BYTES != method + info->header_size;
    return fault_of(&look, strcmp(version, MHD_HTTP_VERSION_1_0) == 0);
}
