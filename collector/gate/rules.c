#include "collector/gate/rules.h"

#include "collector/request/body.h"

/* Of all events of a request. Without it hardly any request comes near a block's 4 MiB; those that
 * do the committer refuses. */
enum { GROWTH_BYTES_MAX = 512 * 1024 };

static enum ip_rule read_ip_rule(const msgpack_object *rule)
{
    static const char *const names[] = {
        [IP_AS_SENT] = "as_sent",
        [IP_KEEP] = "keep",
        [IP_TRUNCATE] = "truncate",
        [IP_DROP] = "drop",
    };
    struct slice text;
    for (size_t i = 0; value_text(rule, &text) && i < sizeof names / sizeof *names; i++) {
        if (slice_is(text, names[i])) {
            return (enum ip_rule)i;
        }
    }
    return IP_AS_SENT;
}

struct rules rules_read(const msgpack_object *source)
{
    const msgpack_object *gpc = value_member_c(value_member_c(source, "consent"), "gpc");
    const msgpack_object *rate = value_member_c(source, "rate");
    struct slice bots;
    double events_per_second = 0;
    double burst = 0;
    bool is_limited = value_number(value_member_c(rate, "events_per_second"), &events_per_second);
    (void)value_number(value_member_c(rate, "burst"), &burst);
    return (struct rules){
        .objections = value_is(gpc, MSGPACK_OBJECT_ARRAY) && gpc->via.array.size > 0 ? gpc : NULL,
        .keeps_bots = value_text(value_member_c(source, "bots"), &bots) && slice_is(bots, "keep"),
        .ip = read_ip_rule(value_member_c(source, "ip")),
        .rate = rate_rule_make(is_limited ? events_per_second : 0, burst),
    };
}

void visit_init(struct visit *visit)
{
    *visit = (struct visit){0};
    for (int i = 0; i < 2; i++) {
        buf_init(&visit->changed[i], (size_t)2 * LIMIT_EVENT_BYTES);
    }
}

void visit_done(struct visit *visit)
{
    for (int i = 0; i < 2; i++) {
        buf_done(&visit->changed[i]);
    }
}

bool visit_grow(struct visit *visit, size_t from, size_t to)
{
    size_t growth = to > from ? to - from : 0;
    if (growth > GROWTH_BYTES_MAX - visit->growth) {
        return false;
    }
    visit->growth += growth;
    return true;
}

#define NAME(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct slice gpc_names[] = {NAME("context"), NAME("consent"), NAME("gpc")};
static const struct slice ip_names[] = {NAME("context"), NAME("ip")};
static const struct body_path gpc_path = {gpc_names, 3};
static const struct body_path ip_path = {ip_names, 2};
static const struct slice packed_true = NAME("\xc3");
static const struct slice packed_false = NAME("\xc2");

/* The n-th category that an objection denies; empty where it is no text. */
static struct slice objection(const struct rules *rules, uint32_t n)
{
    struct slice category = {NULL, 0};
    (void)value_text(&rules->objections->via.array.ptr[n], &category);
    return category;
}

void rules_object(const struct visit *visit, struct request_event *e)
{
    struct slice told;
    if (visit->rules->objections == NULL) {
        return;
    }
    e->objects = visit->objects ||
                 (body_get(e->event.body, gpc_path, &told) && slice_equal(told, packed_true));
    for (uint32_t i = 0; e->objects && i < visit->rules->objections->via.array.size; i++) {
        struct slice category = objection(visit->rules, i);
        if (category.len > 0) {
            /* Behind the others, because the last counts; where there are too many, in place of
             * one of them, which errs towards refusing. */
            size_t at = e->preference_count < LIMIT_CONSENT_CATEGORIES ? e->preference_count++ : i;
            e->preferences[at % LIMIT_CONSENT_CATEGORIES] =
                (struct consent_preference){category, false};
        }
    }
}

struct refusal rules_check(struct visit *visit, const struct request_event *e)
{
    struct slice agent = slice_make(e->event.body.data + e->user_agent_at, e->user_agent_len);
    if (visit->rules->keeps_bots) {
        return (struct refusal){NULL, NULL, NULL};
    }
    agent = agent.len > 0 ? agent : visit->user_agent;
    if (!slice_equal(agent, visit->judged)) {
        visit->judged = agent;
        visit->judged_as_bot = bots_is_bot(visit->bots, agent);
    }
    return visit->judged_as_bot
               ? (struct refusal){"bot", "The user agent is that of a program.",
                                  e->user_agent_len > 0 ? "/context/userAgent" : NULL}
               : (struct refusal){NULL, NULL, NULL};
}

/* Put (or remove, where it is empty) a value, through the buffer that *body is not in. */
static bool change(struct visit *visit, struct slice *body, struct body_path path,
                   struct slice value)
{
    struct buf *out = &visit->changed[body->data == visit->changed[0].data];
    buf_clear(out);
    if (!body_put(*body, path, value, out)) {
        return false;
    }
    *body = buf_slice(out);
    return true;
}

static bool note_objection(struct visit *visit, struct slice *body)
{
    bool fine = change(visit, body, gpc_path, packed_true);
    for (uint32_t i = 0; fine && i < visit->rules->objections->via.array.size; i++) {
        struct slice category = objection(visit->rules, i);
        const struct slice names[] = {NAME("context"), NAME("consent"), NAME("categoryPreferences"),
                                      category};
        struct body_path path = {names, 4};
        fine = category.len == 0 || change(visit, body, path, packed_false);
    }
    return fine;
}

static bool put_address(struct visit *visit, struct slice *body, struct address address)
{
    uint8_t packed[2 + ADDRESS_TEXT_BYTES] = {0xd9};
    size_t len = address_format(address, (char *)packed + 2);
    packed[1] = (uint8_t)len;
    return change(visit, body, ip_path, slice_make(packed, 2 + len));
}

static bool apply_ip_rule(struct visit *visit, struct slice *body)
{
    bool truncates = visit->rules->ip == IP_TRUNCATE;
    struct slice nothing = {NULL, 0};
    struct slice sent;
    struct slice text;
    struct address address;
    if (body_get(*body, ip_path, &sent)) {
        if (visit->rules->ip == IP_KEEP) {
            return true;
        }
        /* What is no address cannot be cut. */
        return truncates && body_text(sent, &text) && address_parse(text, &address)
                   ? put_address(visit, body, address_truncate(address))
                   : change(visit, body, ip_path, nothing);
    }
    if (visit->rules->ip == IP_DROP || !visit->has_address) {
        return true;
    }
    return put_address(visit, body, truncates ? address_truncate(visit->address) : visit->address);
}

struct refusal rules_change(struct visit *visit, struct request_event *e)
{
    struct slice body = e->event.body;
    bool fine = !e->objects || note_objection(visit, &body);
    if (fine && visit->rules->ip != IP_AS_SENT) {
        fine = apply_ip_rule(visit, &body);
    }
    if (!fine || body.len > LIMIT_EVENT_BYTES) {
        return (struct refusal){"event-too-large", "The event is over 32 KiB.", NULL};
    }
    if (!visit_grow(visit, e->event.body.len, body.len)) {
        return (struct refusal){"request-too-large",
                                "With what the source's rules add the request is too large.", NULL};
    }
    if (body.data != e->event.body.data) {
        e->event.body = arena_copy(visit->arena, body);
    }
    return (struct refusal){NULL, NULL, NULL};
}
