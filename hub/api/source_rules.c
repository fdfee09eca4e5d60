#include "hub/api/source_rules.h"

#include "shared/limits.h"

static bool is_categories(const msgpack_object *list)
{
    if (list == NULL) {
        return true;
    }
    bool fine =
        list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size <= LIMIT_CONSENT_CATEGORIES;
    for (uint32_t i = 0; fine && i < list->via.array.size; i++) {
        struct slice text;
        fine = value_text(&list->via.array.ptr[i], &text) && text.len > 0 &&
               text.len <= LIMIT_NAME_BYTES;
    }
    return fine;
}

static const char *consent_mistake(const msgpack_object *consent, const char **ret_field)
{
    const msgpack_object *exempt = value_member_c(consent, "exempt");
    *ret_field = "/consent";
    if (consent != NULL && consent->type != MSGPACK_OBJECT_MAP) {
        return "\"consent\" must be an object with \"required\", \"exempt\" or \"gpc\".";
    }
    *ret_field = "/consent/required";
    if (!is_categories(value_member_c(consent, "required"))) {
        return "\"required\" must be an array of up to 16 consent categories.";
    }
    *ret_field = "/consent/exempt";
    if (exempt != NULL && exempt->type != MSGPACK_OBJECT_BOOLEAN) {
        return "\"exempt\" must be true or false.";
    }
    *ret_field = "/consent/gpc";
    if (!is_categories(value_member_c(consent, "gpc"))) {
        return "\"gpc\" must be an array of up to 16 consent categories.";
    }
    return NULL;
}

/* Absent, or one of the texts. */
static bool is_one_of(const msgpack_object *object, const char *const *texts)
{
    struct slice text;
    bool found = object == NULL;
    for (size_t i = 0; !found && texts[i] != NULL && value_text(object, &text); i++) {
        found = slice_is(text, texts[i]);
    }
    return found;
}

static const char *rate_mistake(const msgpack_object *rate, const char **ret_field)
{
    const msgpack_object *burst = value_member_c(rate, "burst");
    double number = 0;
    *ret_field = "/rate";
    if (rate == NULL) {
        return NULL;
    }
    if (rate->type != MSGPACK_OBJECT_MAP) {
        return "\"rate\" must be an object with \"events_per_second\" and perhaps \"burst\".";
    }
    *ret_field = "/rate/events_per_second";
    if (!value_number(value_member_c(rate, "events_per_second"), &number) || number < 0.001 ||
        number > 1e6) {
        return "\"events_per_second\" must be a number from 0.001 to 1,000,000.";
    }
    *ret_field = "/rate/burst";
    if (burst != NULL && (!value_number(burst, &number) || number < 1 || number > 1e7)) {
        return "\"burst\" must be a number from 1 to 10,000,000.";
    }
    return NULL;
}

const char *source_rules_mistake(const msgpack_object *source, const char **ret_field)
{
    static const char *const bots[] = {"refuse", "keep", NULL};
    static const char *const ips[] = {"as_sent", "keep", "truncate", "drop", NULL};
    const char *mistake = consent_mistake(value_member_c(source, "consent"), ret_field);
    if (mistake != NULL) {
        return mistake;
    }
    *ret_field = "/bots";
    if (!is_one_of(value_member_c(source, "bots"), bots)) {
        return "\"bots\" must be \"refuse\" or \"keep\".";
    }
    *ret_field = "/ip";
    if (!is_one_of(value_member_c(source, "ip"), ips)) {
        return "\"ip\" must be \"as_sent\", \"keep\", \"truncate\" or \"drop\".";
    }
    return rate_mistake(value_member_c(source, "rate"), ret_field);
}
