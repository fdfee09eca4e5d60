#include "collector/spool/lane.h"

#include <stdlib.h>

/* The names of one lane: slices into `text`. */
struct names {
    char *text;
    struct slice *names;
    size_t count;
};

struct lanes {
    struct names high;
    struct names low;
};

static const char *const lane_names[LANES] = {
    [LANE_HIGH] = "high",
    [LANE_NORMAL] = "normal",
    [LANE_LOW] = "low",
};

const char *lane_name(enum lane lane)
{
    return lane_names[lane];
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && text.data[0] == ' ') {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && text.data[text.len - 1] == ' ') {
        text.len--;
    }
    return text;
}

static void read_names(const char *list, struct names *ret)
{
    size_t len = strlen(list);
    size_t commas = 0;
    for (size_t i = 0; i < len; i++) {
        commas += list[i] == ',';
    }
    ret->text = memory_allocate(len + 1);
    memcpy(ret->text, list, len + 1);
    ret->names = memory_allocate((commas + 1) * sizeof *ret->names);
    for (const char *at = ret->text; at != NULL;) {
        const char *comma = strchr(at, ',');
        struct slice name = trim(slice_make(at, comma == NULL ? strlen(at) : (size_t)(comma - at)));
        if (name.len > 0) {
            ret->names[ret->count++] = name;
        }
        at = comma == NULL ? NULL : comma + 1;
    }
}

static bool has_name(const struct names *names, struct slice name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (slice_equal(names->names[i], name)) {
            return true;
        }
    }
    return false;
}

struct lanes *lanes_new(const char *high, const char *low)
{
    struct lanes *lanes = memory_allocate_zeroed(sizeof *lanes);
    read_names(high, &lanes->high);
    read_names(low, &lanes->low);
    return lanes;
}

void lanes_free(struct lanes **lanes)
{
    if (*lanes != NULL) {
        free((*lanes)->high.text);
        free((*lanes)->high.names);
        free((*lanes)->low.text);
        free((*lanes)->low.names);
        free(*lanes);
        *lanes = NULL;
    }
}

enum lane lanes_of(const struct lanes *lanes, const struct event *event)
{
    if (lanes == NULL) {
        return LANE_NORMAL;
    }
    switch (event->type) {
    case EVENT_IDENTIFY:
    case EVENT_GROUP:
    case EVENT_ALIAS:
        return LANE_HIGH;
    case EVENT_PAGE:
    case EVENT_SCREEN:
        return LANE_LOW;
    case EVENT_TRACK:
    case EVENT_TYPES:
        break;
    }
    return has_name(&lanes->high, event->name)  ? LANE_HIGH
           : has_name(&lanes->low, event->name) ? LANE_LOW
                                                : LANE_NORMAL;
}
