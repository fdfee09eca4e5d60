#include "hub/cli/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include "hub/cli/files.h"
#include "hub/cli/render.h"
#include "shared/json.h"
#include "shared/limits.h"

enum { FILE_BYTES_MAX = LIMIT_SEGMENTS * LIMIT_SEGMENT_JSON_BYTES, PATH_BYTES_MAX = 2048 };

/* A definition out of the file. */
struct definition {
    struct slice key;
    const char *key_member; /* among its members; NULL: it stands before them */
    const msgpack_object *members;
    bool is_applied;
};

struct file {
    const struct apply_kind *kind;
    struct definition *definitions;
    size_t count;
};

/* The member that holds the key: a source may call it "id". NULL: there is none. */
static const char *key_member(const msgpack_object *members)
{
    struct slice key;
    return value_text(value_member_c(members, "key"), &key)  ? "key"
           : value_text(value_member_c(members, "id"), &key) ? "id"
                                                             : NULL;
}

static bool set_definition(const struct apply_kind *kind, struct definition *definition,
                           const struct slice *key, const msgpack_object *members,
                           struct error *err)
{
    *definition = (struct definition){.members = members};
    if (!value_is(members, MSGPACK_OBJECT_MAP)) {
        return error_set(err, ERROR_INVALID, "it is no object");
    }
    if (key != NULL) {
        definition->key = *key;
    } else {
        definition->key_member = key_member(members);
        if (definition->key_member == NULL) {
            return error_set(err, ERROR_INVALID, "it has no \"key\"");
        }
        (void)value_text(value_member_c(members, definition->key_member), &definition->key);
    }
    if (kind->needs != NULL && value_member_c(members, kind->needs) == NULL) {
        return error_set(err, ERROR_INVALID, "it has no \"%s\"", kind->needs);
    }
    return (definition->key.len > 0 && definition->key.len <= LIMIT_NAME_BYTES) ||
           error_set(err, ERROR_INVALID, "its key must have 1 to %d bytes", LIMIT_NAME_BYTES);
}

static bool is_single(const struct apply_kind *kind, const msgpack_object *json)
{
    return json->type == MSGPACK_OBJECT_MAP &&
           (key_member(json) != NULL ||
            (kind->needs != NULL && value_member_c(json, kind->needs) != NULL));
}

static bool read_definitions(struct file *file, const msgpack_object *json, struct error *err)
{
    const msgpack_object *list = value_member_c(json, file->kind->list);
    json = value_is(list, MSGPACK_OBJECT_ARRAY) ? list : json;
    bool is_one = is_single(file->kind, json);
    bool is_list = json->type == MSGPACK_OBJECT_ARRAY;
    bool is_map = json->type == MSGPACK_OBJECT_MAP;
    file->count = is_one ? 1 : is_list ? json->via.array.size : is_map ? json->via.map.size : 0;
    file->definitions = memory_allocate_zeroed(file->count * sizeof *file->definitions);
    if (file->count == 0) {
        return error_set(err, ERROR_INVALID, "no definition of a %s is in it", file->kind->noun);
    }
    for (size_t i = 0; i < file->count; i++) {
        struct definition *definition = &file->definitions[i];
        struct slice key;
        bool fine;
        if (is_one || is_list) {
            fine = set_definition(file->kind, definition, NULL,
                                  is_one ? json : &json->via.array.ptr[i], err);
        } else {
            fine = value_text(&json->via.map.ptr[i].key, &key) &&
                   set_definition(file->kind, definition, &key, &json->via.map.ptr[i].val, err);
        }
        if (!fine) {
            return error_add_context(err, "definition %zu", i + 1);
        }
    }
    return true;
}

/* PUT it without its key, which the path says. */
static bool put_definition(struct client *client, const struct apply_kind *kind,
                           const struct definition *definition, struct client_reply *reply,
                           struct error *err)
{
    struct json_writer w;
    struct buf path;
    struct buf body;
    buf_init(&path, PATH_BYTES_MAX);
    buf_init(&body, FILE_BYTES_MAX * 2);
    client_put_path(&path, kind->prefix, definition->key);
    json_writer_init(&w, &body);
    json_open_object(&w);
    for (uint32_t i = 0; i < definition->members->via.map.size; i++) {
        const msgpack_object_kv *kv = &definition->members->via.map.ptr[i];
        struct slice name;
        bool is_key = !value_text(&kv->key, &name) ||
                      (definition->key_member != NULL && slice_is(name, definition->key_member));
        if (!is_key) {
            json_key_slice(&w, name);
            json_value(&w, &kv->val);
        }
    }
    json_close_object(&w);
    bool put =
        client_request(client, "PUT", (const char *)path.data, buf_slice(&body), reply, err) &&
        client_check(reply, err);
    buf_done(&path);
    buf_done(&body);
    return put || error_add_context(err, "%s %.*s", kind->noun, SLICE_ARGS(definition->key));
}

/* One definition may use another that comes later in the file, so what is refused is tried again as
 * long as others succeed. */
static bool apply_all(struct client *client, const struct file *file, struct client_reply *reply,
                      struct error *err)
{
    size_t applied = 0;
    size_t before;
    do {
        before = applied;
        for (size_t i = 0; i < file->count; i++) {
            struct definition *definition = &file->definitions[i];
            if (definition->is_applied) {
                continue;
            }
            if (put_definition(client, file->kind, definition, reply, err)) {
                definition->is_applied = true;
                applied++;
                render_print(stdout, definition->key);
                printf(" %s\n", reply->status == 201 ? "created" : "applied");
            } else if (err->kind != ERROR_INVALID) {
                return false;
            }
        }
    } while (applied < file->count && applied > before);
    return applied == file->count;
}

bool apply_read_json(const char *path, struct buf *bytes, msgpack_zone *zone, msgpack_object *ret,
                     struct error *err)
{
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    buf_init(bytes, FILE_BYTES_MAX * 2);
    bool fine = file_read(path, &text, err);
    if (fine && !json_read_value(buf_slice(&text), bytes, zone, ret, err)) {
        fine = error_add_context(err, "%s", path);
    }
    buf_done(&text);
    return fine;
}

bool apply_file(struct client *client, const struct apply_kind *kind, const char *path,
                struct error *err)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object json;
    struct client_reply reply;
    struct file file = {.kind = kind};
    bool applied = msgpack_zone_init(&zone, 8192);
    ensure(applied);
    client_reply_init(&reply);
    applied = apply_read_json(path, &bytes, &zone, &json, err);
    if (applied && !read_definitions(&file, &json, err)) {
        applied = error_add_context(err, "%s", path);
    }
    applied = applied && apply_all(client, &file, &reply, err);
    free(file.definitions);
    client_reply_done(&reply);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return applied;
}

bool apply_key_path(const struct apply_kind *kind, const char *key, struct buf *path,
                    struct error *err)
{
    size_t len = strlen(key);
    if (len == 0 || len > LIMIT_NAME_BYTES) {
        return error_set(err, ERROR_INVALID, "the key of a %s has 1 to %d bytes", kind->noun,
                         LIMIT_NAME_BYTES);
    }
    client_put_path(path, kind->prefix, slice_make(key, len));
    return true;
}

bool apply_delete(struct client *client, const struct apply_kind *kind, const char *key,
                  struct error *err)
{
    struct client_reply reply;
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    client_reply_init(&reply);
    bool gone = apply_key_path(kind, key, &path, err) &&
                client_request(client, "DELETE", (const char *)path.data, slice_make(NULL, 0),
                               &reply, err) &&
                client_check(&reply, err);
    if (gone) {
        render_print(stdout, slice_text(key));
        printf(" deleted\n");
    }
    client_reply_done(&reply);
    buf_done(&path);
    return gone;
}
