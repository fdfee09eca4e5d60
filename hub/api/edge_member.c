/* The member "edge" of segments and traits: to whom they are shown at the edge. */
#include <stdio.h>
#include "hub/api/internal.h"
#include "shared/audience.h"

bool call_check_edge(struct call *call, const msgpack_object *body, const char *code)
{
    char pointer[32] = "/edge";
    struct error err;
    int at;
    if (audience_check(value_member_c(body, "edge"), &at, &err)) {
        return true;
    }
    if (at >= 0) {
        snprintf(pointer, sizeof pointer, "/edge/%d", at);
    }
    http_answer_error(call->http, 400, code, err.message, pointer);
    return false;
}

void call_write_edge(struct call *call, const msgpack_object *body)
{
    enum audience audience = audience_read(value_member_c(body, "edge"));
    json_key(&call->w, "edge");
    json_open_array(&call->w);
    for (size_t i = 0; audience_name(i) != NULL; i++) {
        if ((audience >> i & 1) != 0) {
            json_cstr(&call->w, audience_name(i));
        }
    }
    json_close_array(&call->w);
}
