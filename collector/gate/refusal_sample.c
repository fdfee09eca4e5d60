#include "collector/gate/refusal_sample.h"

#include <stdio.h>
#include "shared/cursor.h"

enum { DEPTH_MAX = 4, NAME_BYTES_MAX = 40, DIGITS_MAX = 4 };

static const char more[] = "…";

struct sample {
    char *out;
    size_t len;
    size_t size; /* with room for `more` and a zero */
    bool is_full;
};

static void put(struct sample *s, const char *text, size_t len)
{
    if (!s->is_full && s->len + len > s->size) {
        memcpy(s->out + s->len, more, sizeof more - 1);
        s->len += sizeof more - 1;
        s->is_full = true;
    }
    if (!s->is_full) {
        memcpy(s->out + s->len, text, len);
        s->len += len;
    }
}

static void put_text(struct sample *s, const char *text)
{
    put(s, text, strlen(text));
}

/* Members are named by developers, but some name them by people: an address or a number. */
static bool is_name(struct slice key)
{
    size_t digits = 0;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_digit = c >= '0' && c <= '9';
        if (!is_letter && !is_digit && (c == 0 || strchr("_-$. ", c) == NULL)) {
            return false;
        }
        digits += is_digit;
    }
    return key.len > 0 && key.len <= NAME_BYTES_MAX && digits <= DIGITS_MAX;
}

static void put_if_name(struct sample *s, struct slice text)
{
    if (is_name(text)) {
        put(s, (const char *)text.data, text.len);
    } else if (text.len > 0) {
        put_text(s, more);
    }
}

static void put_name(struct sample *s, const struct token *key)
{
    if (key->kind == TOKEN_TEXT && key->text.len > 0) {
        put_if_name(s, key->text);
    } else {
        put_text(s, more);
    }
}

static void put_masked(struct sample *s, struct slice text)
{
    char masked[48];
    const uint8_t *at = text.len == 0 ? NULL : memchr(text.data, '@', text.len);
    uint8_t first = text.len == 0 ? 0 : text.data[0];
    bool is_letter = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z');
    snprintf(masked, sizeof masked, "text(%zu)", text.len);
    put_text(s, masked);
    if (at != NULL && at != text.data && is_letter) {
        snprintf(masked, sizeof masked, " %c…@…", first);
        put_text(s, masked);
    }
}

static void put_value(struct sample *s, struct cursor *at, int depth);

static void put_map(struct sample *s, struct cursor *at, uint32_t count, int depth)
{
    struct token key;
    put_text(s, "{");
    for (uint32_t i = 0; i < count && !s->is_full && cursor_next(at, &key); i++) {
        put_text(s, i > 0 ? "," : "");
        put_name(s, &key);
        put_value(s, at, depth + 1);
    }
    put_text(s, "}");
}

/* The value's type, and what is in an object. */
static void put_value(struct sample *s, struct cursor *at, int depth)
{
    static const char *const names[] = {
        [TOKEN_NIL] = ":null",      [TOKEN_BOOL] = ":boolean", [TOKEN_INTEGER] = ":number",
        [TOKEN_DOUBLE] = ":number", [TOKEN_BYTES] = ":bytes",  [TOKEN_TEXT] = ":"};
    char text[32];
    struct cursor whole = *at;
    struct token token;
    if (!cursor_next(&whole, &token) || s->is_full) {
        s->is_full = true;
        return;
    }
    if (token.kind == TOKEN_MAP && depth < DEPTH_MAX) {
        struct cursor inner = whole;
        put_map(s, &inner, token.count, depth);
    } else if (token.kind == TOKEN_MAP || token.kind == TOKEN_ARRAY) {
        snprintf(text, sizeof text, token.kind == TOKEN_MAP ? ":object(%u)" : ":array(%u)",
                 token.count);
        put_text(s, text);
    } else {
        put_text(s, names[token.kind]);
        if (token.kind == TOKEN_TEXT) {
            put_masked(s, token.text);
        }
    }
    s->is_full = s->is_full || !cursor_skip(at);
}

static void put_id(struct sample *s, const char *name, struct slice id)
{
    if (id.len > 0) {
        put_text(s, s->len > 0 ? " " : "");
        put_text(s, name);
        put_text(s, ":");
        put_masked(s, id);
    }
}

static void put_body(struct sample *s, struct slice body)
{
    struct cursor at = cursor_of(body);
    struct token head;
    struct token key;
    if (!cursor_next(&at, &head) || head.kind != TOKEN_MAP) {
        return; /* it was refused before its body was complete */
    }
    for (uint32_t i = 0; i < head.count && !s->is_full && cursor_next(&at, &key); i++) {
        put_text(s, s->len > 0 ? " " : "");
        put_name(s, &key);
        put_value(s, &at, 1);
    }
}

/* Names and numbers of elements stay; a slash or tilde in a name comes escaped, which is none. */
void refusal_sample_pointer(struct slice pointer, char *ret, size_t size)
{
    struct sample s = {.out = ret, .size = size - sizeof more};
    while (pointer.len > 0) {
        const uint8_t *slash = memchr(pointer.data, '/', pointer.len);
        size_t len = slash == NULL ? pointer.len : (size_t)(slash - pointer.data);
        put_if_name(&s, slice_make(pointer.data, len));
        put_text(&s, slash == NULL ? "" : "/");
        pointer = slice_skip(pointer, slash == NULL ? len : len + 1);
    }
    ret[s.len] = 0;
}

void refusal_sample_event(const struct request_event *e, struct refusal_seen *ret)
{
    struct sample s = {.out = ret->sample, .size = sizeof ret->sample - sizeof more};
    ret->type = e->event.type < EVENT_TYPES ? event_type_name(e->event.type) : NULL;
    struct sample name = {.out = ret->event, .size = sizeof ret->event - sizeof more};
    put_if_name(&name, e->event_name);
    name.out[name.len] = 0;
    put_id(&s, "userId", e->event.user_id);
    put_id(&s, "anonymousId", e->event.anonymous_id);
    put_body(&s, e->event.body);
    s.out[s.len] = 0;
}
