/* The gate's definitions: bytes from the hub or from an enrolment file. A gate made of anything
 * answers every question, and what it lets pass is a whole event. */
#include "collector/gate/gate.h"

#include <sodium.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An event of a browser that objects, through the rules of a source. */
static void pass(const struct gate_source *source)
{
    static const char event[] = "{\"userId\":\"u\",\"event\":\"E\",\"context\":{\"ip\":\"192.0.2."
                                "7\",\"consent\":{\"gpc\":true,"
                                "\"categoryPreferences\":{\"analytics\":true,\"marketing\":true}},"
                                "\"userAgent\":\"Mozilla\"}}";
    static struct request request;
    static struct visit visit;
    static struct bots *bots;
    struct error err;
    msgpack_zone zone;
    msgpack_object body;
    if (bots == NULL) {
        ensure(sodium_init() >= 0);
        bots = bots_new();
        request_init(&request);
        visit_init(&visit);
    }
    visit.rules = gate_rules(source);
    visit.bots = bots;
    visit.arena = &request.arena;
    visit.objects = true;
    visit.growth = 0;
    request_parse(&request, EVENT_TRACK, slice_text(event), &rand_secure);
    ensure(request.count == 1);
    gate_pass(source, &visit, &request, &request.events[0]);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    ensure(value_unpack(request.events[0].event.body, &zone, &body, &err));
    msgpack_zone_destroy(&zone);
}

static void ask(const struct gate *gate, struct slice text)
{
    struct request_event event = {.preference_count = 1};
    event.preferences[0] = (struct consent_preference){text, true};
    const struct gate_source *source = gate_find_source(gate, text);
    if (source != NULL) {
        struct refusal refusal = gate_check(source, &event);
        ensure(slice_equal(gate_source_id(source), text));
        ensure(refusal.code == NULL || refusal.message != NULL);
        pass(source);
        int64_t wait_ns;
        ensure(gate_take_rate(source, 2500, 1000000000, &wait_ns) || wait_ns > 0);
        struct schema_violations found;
        if (gate_source_plan(source) != NULL) {
            (void)tracking_plan_check(gate_source_plan(source), text, slice_text("\x80"), &found);
        }
    }
    (void)gate_allows_origin(gate, text);
    ensure(gate_normalizer(gate, text) <= NORMALIZE_PHONE);
    ensure(gate_identifier_types(gate)->count <= LIMIT_IDENTIFIER_TYPES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gate *gate;
    struct error err;
    if (!gate_new(slice_make(data, size), &gate, &err)) {
        ensure(err.kind == ERROR_CORRUPT);
        return 0;
    }
    (void)gate_version(gate);
    gate_continue(gate, gate);
    ask(gate, slice_text("web"));
    ask(gate, slice_text("analytics"));
    ask(gate, slice_text("email"));
    ask(gate, slice_make(NULL, 0));
    /* Every run of bytes in the definitions is somebody's key, perhaps. */
    for (size_t i = 0; i + 3 <= size && i < 64; i++) {
        ask(gate, slice_make(data + i, 3));
    }
    gate_free(&gate);
    return 0;
}
