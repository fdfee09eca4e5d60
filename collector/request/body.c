#include "collector/request/body.h"

#include "shared/cursor.h"

/* Take one whole value from the front of *in. */
static bool take_value(struct slice *in, struct slice *ret)
{
    struct cursor cursor = cursor_of(*in);
    if (!cursor_skip(&cursor)) {
        return false;
    }
    size_t len = (size_t)(cursor.at - in->data);
    *ret = slice_make(in->data, len);
    *in = slice_skip(*in, len);
    return true;
}

static bool read_token(struct slice value, enum token_kind kind, struct token *ret)
{
    struct cursor cursor = cursor_of(value);
    return cursor_next(&cursor, ret) && ret->kind == kind;
}

bool body_text(struct slice value, struct slice *ret)
{
    struct token token;
    if (!read_token(value, TOKEN_TEXT, &token)) {
        return false;
    }
    *ret = token.text;
    return true;
}

/* Goes through the members of a map. */
struct members {
    struct slice rest;
    uint32_t left;
    bool is_damaged;
    struct slice whole; /* of the member: key and value */
    struct slice key;   /* its text; empty where it is none */
    struct slice value;
};

/* False: it is no map. Nothing at all is the empty map. */
static bool begin(struct members *m, struct slice map)
{
    struct cursor cursor = cursor_of(map);
    struct token head;
    *m = (struct members){.rest = map};
    if (map.len == 0) {
        return true;
    }
    if (!cursor_next(&cursor, &head) || head.kind != TOKEN_MAP) {
        return false;
    }
    m->rest = slice_skip(map, (size_t)(cursor.at - map.data));
    m->left = head.count;
    return true;
}

static bool next(struct members *m)
{
    const uint8_t *start = m->rest.data;
    struct slice key;
    if (m->left == 0) {
        return false;
    }
    m->left--;
    m->key = slice_make(NULL, 0);
    if (!take_value(&m->rest, &key) || !take_value(&m->rest, &m->value)) {
        m->is_damaged = true;
        return false;
    }
    (void)body_text(key, &m->key);
    m->whole = slice_make(start, (size_t)(m->rest.data - start));
    return true;
}

bool body_get(struct slice body, struct body_path path, struct slice *ret)
{
    struct slice at = body;
    for (size_t i = 0; i < path.depth; i++) {
        struct members m;
        struct slice found = slice_make(NULL, 0);
        if (at.len == 0 || !begin(&m, at)) {
            return false;
        }
        while (next(&m)) {
            found = slice_equal(m.key, path.names[i]) ? m.value : found;
        }
        if (m.is_damaged) {
            return false;
        }
        at = found;
    }
    *ret = at;
    return at.len > 0;
}

static bool put_key(struct buf *out, struct slice name)
{
    uint8_t head[3] = {0xda, (uint8_t)(name.len >> 8), (uint8_t)name.len};
    return name.len <= UINT16_MAX && buf_append(out, head, sizeof head) &&
           buf_append(out, name.data, name.len);
}

static bool is_map(struct slice value)
{
    struct token head;
    return read_token(value, TOKEN_MAP, &head);
}

static bool put_into(struct slice map, struct body_path path, struct slice value, struct buf *out);

/* The member that the path begins with, as it shall be; `old` is its value so far. */
static bool put_member(struct slice old, struct body_path path, struct slice value, struct buf *out,
                       uint32_t *count)
{
    struct body_path inner = {path.names + 1, path.depth - 1};
    bool is_last = path.depth == 1;
    bool stays = !is_last && value.len == 0 && !is_map(old); /* there is nothing to remove */
    if ((is_last && value.len == 0) || (stays && old.len == 0)) {
        return true;
    }
    ++*count;
    if (!put_key(out, path.names[0])) {
        return false;
    }
    if (is_last || stays) {
        struct slice whole = stays ? old : value;
        return buf_append(out, whole.data, whole.len);
    }
    return put_into(is_map(old) ? old : slice_make(NULL, 0), inner, value, out);
}

static bool put_into(struct slice map, struct body_path path, struct slice value, struct buf *out)
{
    static const uint8_t head[3] = {0xde, 0, 0};
    struct members m;
    struct slice old = slice_make(NULL, 0);
    uint32_t count = 0;
    size_t head_at = out->len;
    if (!begin(&m, map) || !buf_append(out, head, sizeof head)) {
        return false;
    }
    while (next(&m)) {
        if (m.key.len > 0 && slice_equal(m.key, path.names[0])) {
            old = m.value;
        } else if (buf_append(out, m.whole.data, m.whole.len)) {
            count++;
        } else {
            return false;
        }
    }
    if (m.is_damaged || !put_member(old, path, value, out, &count) || count > UINT16_MAX) {
        return false;
    }
    out->data[head_at + 1] = (uint8_t)(count >> 8);
    out->data[head_at + 2] = (uint8_t)count;
    return true;
}

bool body_put(struct slice body, struct body_path path, struct slice value, struct buf *out)
{
    return path.depth > 0 && body.len > 0 && put_into(body, path, value, out);
}
