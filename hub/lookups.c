#include "hub/lookups.h"

static const int64_t SECOND_NS = 1000000000;
enum { ALL_SECONDS = 10, OUTSIDE_SECONDS = 180 };

const char *lookups_result_name(enum lookups_result result)
{
    static const char *const names[LOOKUPS_RESULTS] = {"found", "outside", "nobody", "limited"};
    return names[result];
}

/* Take one out of a bucket that holds `seconds` of what flows in, one each `each_ns`. */
static bool take(int64_t *until_ns, int64_t each_ns, int64_t seconds, int64_t now_ns)
{
    int64_t from_ns = *until_ns > now_ns ? *until_ns : now_ns;
    bool may = from_ns + each_ns - now_ns <= seconds * SECOND_NS;
    *until_ns = may ? from_ns + each_ns : *until_ns;
    return may;
}

bool lookups_begin(struct lookups *l, const struct lookups_limits *limits, int64_t now_ns)
{
    bool may = take(&l->all_until_ns, SECOND_NS / limits->per_second, ALL_SECONDS, now_ns);
    l->counts[LOOKUPS_LIMITED] += !may;
    return may;
}

bool lookups_end(struct lookups *l, const struct lookups_limits *limits, enum lookups_result result,
                 int64_t now_ns)
{
    bool may = result == LOOKUPS_FOUND ||
               take(&l->outside_until_ns, 60 * SECOND_NS / limits->outside_per_minute,
                    OUTSIDE_SECONDS, now_ns);
    l->counts[may ? result : LOOKUPS_LIMITED]++;
    return may;
}
