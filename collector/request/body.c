#include "collector/request/body.h"

enum kind { KIND_OTHER, KIND_TEXT, KIND_ARRAY, KIND_MAP };

/* The head of one value, and where it ends. */
struct head {
    enum kind kind;
    size_t len; /* of the head and of the value's own bytes, without values inside */
    size_t content_at;
    uint64_t inside; /* values that follow and belong to it */
};

/* What c0 to df say: the width of the length behind the first byte, bytes that come always, and
 * what it is. */
static const struct {
    uint8_t width;
    uint8_t fixed;
    uint8_t kind;
} formats[32] = {
    [0x04] = {1, 0, KIND_OTHER}, {2, 0, KIND_OTHER}, {4, 0, KIND_OTHER}, {1, 1, KIND_OTHER},
    {2, 1, KIND_OTHER},          {4, 1, KIND_OTHER}, {0, 4, KIND_OTHER}, {0, 8, KIND_OTHER},
    {0, 1, KIND_OTHER},          {0, 2, KIND_OTHER}, {0, 4, KIND_OTHER}, {0, 8, KIND_OTHER},
    {0, 1, KIND_OTHER},          {0, 2, KIND_OTHER}, {0, 4, KIND_OTHER}, {0, 8, KIND_OTHER},
    {0, 2, KIND_OTHER},          {0, 3, KIND_OTHER}, {0, 5, KIND_OTHER}, {0, 9, KIND_OTHER},
    {0, 17, KIND_OTHER},         {1, 0, KIND_TEXT},  {2, 0, KIND_TEXT},  {4, 0, KIND_TEXT},
    {2, 0, KIND_ARRAY},          {4, 0, KIND_ARRAY}, {2, 0, KIND_MAP},   {4, 0, KIND_MAP},
};

static struct head make_head(enum kind kind, size_t head_len, uint64_t count, size_t fixed)
{
    bool holds = kind == KIND_ARRAY || kind == KIND_MAP;
    return (struct head){.kind = kind,
                         .len = head_len + fixed + (holds ? 0 : (size_t)count),
                         .content_at = head_len,
                         .inside = kind == KIND_MAP ? 2 * count
                                   : holds          ? count
                                                    : 0};
}

static bool read_head(struct slice in, struct head *ret)
{
    uint64_t count = 0;
    if (in.len == 0 || in.data[0] == 0xc1) {
        return false;
    }
    uint8_t first = in.data[0];
    if (first < 0x80 || first >= 0xe0) {
        *ret = make_head(KIND_OTHER, 1, 0, 0);
    } else if (first < 0x90) {
        *ret = make_head(KIND_MAP, 1, first & 0x0f, 0);
    } else if (first < 0xa0) {
        *ret = make_head(KIND_ARRAY, 1, first & 0x0f, 0);
    } else if (first < 0xc0) {
        *ret = make_head(KIND_TEXT, 1, first & 0x1f, 0);
    } else {
        size_t width = formats[first & 0x1f].width;
        if (in.len < 1 + width) {
            return false;
        }
        for (size_t i = 1; i <= width; i++) {
            count = count << 8 | in.data[i];
        }
        *ret = make_head((enum kind)formats[first & 0x1f].kind, 1 + width, count,
                         formats[first & 0x1f].fixed);
    }
    return ret->len <= in.len;
}

/* The length of a value that one byte tells, as of most: a short text or a small number. 0: it
 * takes more to tell. */
static inline size_t small_len(uint8_t first)
{
    bool is_number = first < 0x80 || first >= 0xe0;
    bool is_text = first >= 0xa0 && first < 0xc0;
    return is_number ? 1 : is_text ? 1 + (first & 0x1fU) : 0;
}

/* Take one whole value from the front of *in. */
static bool take_value(struct slice *in, struct slice *ret)
{
    struct head head;
    struct slice rest = *in;
    for (uint64_t left = 1; left > 0; left--) {
        size_t small = rest.len == 0 ? 0 : small_len(rest.data[0]);
        if (small > 0 && small <= rest.len) {
            rest = slice_skip(rest, small);
            continue;
        }
        if (!read_head(rest, &head)) {
            return false;
        }
        rest = slice_skip(rest, head.len);
        left += head.inside;
    }
    *ret = slice_make(in->data, in->len - rest.len);
    *in = rest;
    return true;
}

bool body_text(struct slice value, struct slice *ret)
{
    struct head head;
    if (!read_head(value, &head) || head.kind != KIND_TEXT) {
        return false;
    }
    *ret = slice_make(value.data + head.content_at, head.len - head.content_at);
    return true;
}

/* Goes through the members of a map. */
struct members {
    struct slice rest;
    uint64_t left;
    bool is_damaged;
    struct slice whole; /* of the member: key and value */
    struct slice key;   /* its text; empty where it is none */
    struct slice value;
};

/* False: it is no map. Nothing at all is the empty map. */
static bool begin(struct members *m, struct slice map)
{
    struct head head;
    *m = (struct members){.rest = map};
    if (map.len == 0) {
        return true;
    }
    if (!read_head(map, &head) || head.kind != KIND_MAP) {
        return false;
    }
    m->rest = slice_skip(map, head.len);
    m->left = head.inside / 2;
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
    struct head head;
    return read_head(value, &head) && head.kind == KIND_MAP;
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
