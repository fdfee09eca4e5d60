/* The gate's definitions: bytes from the hub or from an enrolment file. A gate made of anything
 * answers every question. */
#include "collector/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct gate *gate, struct slice text)
{
    struct request_event event = {.preference_count = 1};
    event.preferences[0] = (struct consent_preference){text, true};
    const struct gate_source *source = gate_find_source(gate, text);
    if (source != NULL) {
        struct refusal refusal = gate_check(source, &event);
        ensure(slice_equal(gate_source_key(source), text));
        ensure(refusal.code == NULL || refusal.message != NULL);
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
