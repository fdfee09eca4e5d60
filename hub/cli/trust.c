#include "hub/cli/trust.h"

#include "hub/cli/render.h"

static int64_t figure(const msgpack_object *evidence, const char *name)
{
    int64_t count = 0;
    (void)value_int(value_member_c(evidence, name), &count);
    return count;
}

static int64_t invalid_proofs(const msgpack_object *evidence)
{
    const msgpack_object *faults = value_member_c(evidence, "invalidProofs");
    int64_t sum = 0;
    for (uint32_t i = 0; value_is(faults, MSGPACK_OBJECT_MAP) && i < faults->via.map.size; i++) {
        int64_t count = 0;
        (void)value_int(&faults->via.map.ptr[i].val, &count);
        sum += count;
    }
    return sum;
}

/* Is there anything to tell? */
static bool has_figures(const msgpack_object *evidence)
{
    return figure(evidence, "provenEvents") + figure(evidence, "claimedEvents") +
               invalid_proofs(evidence) >
           0;
}

static void print_figures(const msgpack_object *sources, int indent)
{
    static const char *const heads[] = {"SOURCE", ">PROVEN", ">CLAIMED", ">INVALID PROOFS"};
    struct table *table = table_new(heads, 4);
    for (uint32_t i = 0; i < sources->via.array.size; i++) {
        const msgpack_object *evidence = value_member_c(&sources->via.array.ptr[i], "evidence");
        if (has_figures(evidence)) {
            render_value(table_cell(table), value_member_c(&sources->via.array.ptr[i], "id"));
            render_number(table_cell(table), figure(evidence, "provenEvents"));
            render_number(table_cell(table), figure(evidence, "claimedEvents"));
            render_number(table_cell(table), invalid_proofs(evidence));
        }
    }
    table_print(table, indent, stdout);
    table_free(&table);
}

static void print_advice(const msgpack_object *sources, int indent)
{
    for (uint32_t i = 0; i < sources->via.array.size; i++) {
        const msgpack_object *source = &sources->via.array.ptr[i];
        const msgpack_object *evidence = value_member_c(source, "evidence");
        struct slice id;
        struct slice advice;
        if (value_text(value_member_c(source, "id"), &id) &&
            value_text(value_member_c(evidence, "advice"), &advice)) {
            printf("%*s", indent, "");
            render_print(stdout, id);
            printf(": ");
            render_print(stdout, advice);
            printf("\n");
        }
    }
}

bool trust_print(struct client *client, int indent, struct error *err)
{
    struct client_reply reply;
    client_reply_init(&reply);
    bool got = client_get(client, "/v1/sources", &reply, err);
    const msgpack_object *sources = got ? value_member_c(&reply.json, "sources") : NULL;
    bool has_any = false;
    for (uint32_t i = 0; value_is(sources, MSGPACK_OBJECT_ARRAY) && i < sources->via.array.size;
         i++) {
        has_any = has_any || has_figures(value_member_c(&sources->via.array.ptr[i], "evidence"));
    }
    if (has_any) {
        printf("\nEvidence of who visitors are, in events since the hub's start\n");
        print_figures(sources, indent);
        print_advice(sources, indent);
    }
    client_reply_done(&reply);
    return got;
}
