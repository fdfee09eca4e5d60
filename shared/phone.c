#include "shared/phone.h"

enum {
    DIGITS_MAX = 64,
    E164_DIGITS_MAX = 15,
    EXTENSION_AFTER = 7, /* letters behind so many digits begin an extension */
};

/* The prefix of calls within the country, which numbers from abroad lack; how many digits a number
 * has without it; and what is dialled for another country where that is not 00. */
static const struct country {
    char name[3];
    char code[4];
    char trunk[3];
    uint8_t least;
    uint8_t most;
    const char *abroad;
} countries[] = {
    {"AE", "971", "0", 8, 9, NULL},  {"AR", "54", "0", 10, 11, NULL},
    {"AT", "43", "0", 4, 13, NULL},  {"AU", "61", "0", 9, 9, "0011"},
    {"BA", "387", "0", 8, 9, NULL},  {"BD", "880", "0", 8, 10, NULL},
    {"BE", "32", "0", 8, 9, NULL},   {"BG", "359", "0", 7, 9, NULL},
    {"BR", "55", "0", 10, 11, NULL}, {"CA", "1", "1", 10, 10, "011"},
    {"CH", "41", "0", 9, 9, NULL},   {"CI", "225", "", 10, 10, NULL},
    {"CL", "56", "", 9, 9, NULL},    {"CN", "86", "0", 7, 11, NULL},
    {"CO", "57", "", 10, 10, NULL},  {"CY", "357", "", 8, 8, NULL},
    {"CZ", "420", "", 9, 9, NULL},   {"DE", "49", "0", 6, 13, NULL},
    {"DK", "45", "", 8, 8, NULL},    {"DZ", "213", "0", 8, 9, NULL},
    {"EE", "372", "", 7, 8, NULL},   {"EG", "20", "0", 8, 10, NULL},
    {"ES", "34", "", 9, 9, NULL},    {"FI", "358", "0", 5, 12, NULL},
    {"FR", "33", "0", 9, 9, NULL},   {"GB", "44", "0", 9, 10, NULL},
    {"GF", "594", "0", 9, 9, NULL},  {"GP", "590", "0", 9, 9, NULL},
    {"GR", "30", "", 10, 10, NULL},  {"HK", "852", "", 8, 8, "001"},
    {"HR", "385", "0", 8, 9, NULL},  {"HU", "36", "06", 8, 9, NULL},
    {"ID", "62", "0", 8, 12, NULL},  {"IE", "353", "0", 7, 10, NULL},
    {"IL", "972", "0", 8, 9, NULL},  {"IN", "91", "0", 10, 10, NULL},
    {"IS", "354", "", 7, 9, NULL},   {"IT", "39", "", 6, 11, NULL},
    {"JP", "81", "0", 9, 10, "010"}, {"KE", "254", "0", 7, 9, NULL},
    {"KR", "82", "0", 8, 10, NULL},  {"KZ", "7", "8", 10, 10, NULL},
    {"LI", "423", "", 7, 9, NULL},   {"LT", "370", "0", 8, 8, NULL},
    {"LU", "352", "", 4, 11, NULL},  {"LV", "371", "", 8, 8, NULL},
    {"MA", "212", "0", 9, 9, NULL},  {"MQ", "596", "0", 9, 9, NULL},
    {"MT", "356", "", 8, 8, NULL},   {"MX", "52", "", 10, 10, NULL},
    {"MY", "60", "0", 8, 10, NULL},  {"NG", "234", "0", 8, 10, NULL},
    {"NL", "31", "0", 9, 9, NULL},   {"NO", "47", "", 8, 8, NULL},
    {"NZ", "64", "0", 8, 10, NULL},  {"PE", "51", "0", 8, 9, NULL},
    {"PH", "63", "0", 8, 10, NULL},  {"PK", "92", "0", 9, 10, NULL},
    {"PL", "48", "", 9, 9, NULL},    {"PT", "351", "", 9, 9, NULL},
    {"RE", "262", "0", 9, 9, NULL},  {"RO", "40", "0", 9, 9, NULL},
    {"RS", "381", "0", 8, 10, NULL}, {"RU", "7", "8", 10, 10, NULL},
    {"SA", "966", "0", 8, 9, NULL},  {"SE", "46", "0", 7, 10, NULL},
    {"SG", "65", "", 8, 8, NULL},    {"SI", "386", "0", 8, 8, NULL},
    {"SK", "421", "0", 9, 9, NULL},  {"SN", "221", "", 9, 9, NULL},
    {"TH", "66", "0", 8, 9, NULL},   {"TN", "216", "", 8, 8, NULL},
    {"TR", "90", "0", 10, 10, NULL}, {"TW", "886", "0", 8, 9, NULL},
    {"UA", "380", "0", 9, 9, NULL},  {"US", "1", "1", 10, 10, "011"},
    {"VN", "84", "0", 9, 10, NULL},  {"ZA", "27", "0", 9, 9, NULL},
};
enum { COUNTRIES = sizeof countries / sizeof *countries };

static uint16_t number_of(const char name[3])
{
    return (uint16_t)((uint8_t)name[0] << 8 | (uint8_t)name[1]);
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
}

static const struct country *find_country(uint16_t number)
{
    for (size_t i = 0; i < COUNTRIES; i++) {
        if (number_of(countries[i].name) == number) {
            return &countries[i];
        }
    }
    return NULL;
}

uint16_t phone_country_from(struct slice code)
{
    if (code.len != 2) {
        return 0;
    }
    uint16_t number = (uint16_t)(upper(code.data[0]) << 8 | upper(code.data[1]));
    return find_country(number) == NULL ? 0 : number;
}

/* ---- The digits that were written ---- */

struct digits {
    uint8_t at[DIGITS_MAX];
    size_t len;
    bool is_international;
    bool is_too_long;
};

/* A digit or a plus at the start of the text: its ASCII form, and how many bytes it has. */
static size_t sign_at(struct slice text, uint8_t *ret)
{
    const uint8_t *at = text.data;
    if ((at[0] >= '0' && at[0] <= '9') || at[0] == '+') {
        *ret = at[0];
        return 1;
    }
    if (text.len >= 2 && at[0] == 0xD9 && at[1] >= 0xA0 && at[1] <= 0xA9) {
        *ret = (uint8_t)('0' + (at[1] - 0xA0));
        return 2;
    }
    if (text.len >= 2 && at[0] == 0xDB && at[1] >= 0xB0 && at[1] <= 0xB9) {
        *ret = (uint8_t)('0' + (at[1] - 0xB0));
        return 2;
    }
    if (text.len >= 3 && at[0] == 0xEF && at[1] == 0xBC &&
        ((at[2] >= 0x90 && at[2] <= 0x99) || at[2] == 0x8B)) {
        *ret = at[2] == 0x8B ? '+' : (uint8_t)('0' + (at[2] - 0x90));
        return 3;
    }
    return 0;
}

static bool begins_extension(const struct digits *d, uint8_t c)
{
    bool is_mark = c == '#' || c == ';' || c == ',' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    return is_mark && d->len >= EXTENSION_AFTER;
}

/* The zero in brackets that those at home dial, and those abroad do not. */
static bool is_home_zero(const struct digits *d, struct slice text)
{
    bool is_from_abroad = d->is_international || (d->len > 2 && memcmp(d->at, "00", 2) == 0);
    return is_from_abroad && slice_starts_with(text, slice_text("(0)"));
}

static void read_digits(struct slice text, struct digits *ret)
{
    *ret = (struct digits){0};
    while (text.len > 0) {
        uint8_t sign = 0;
        size_t len = sign_at(text, &sign);
        if (len == 0 && begins_extension(ret, text.data[0])) {
            return;
        }
        if (len == 0) {
            text = slice_skip(text, is_home_zero(ret, text) ? 3 : 1);
            continue;
        }
        if (sign == '+') {
            ret->is_international = ret->is_international || ret->len == 0;
        } else if (ret->len < DIGITS_MAX) {
            ret->at[ret->len++] = sign;
        } else {
            ret->is_too_long = true;
        }
        text = slice_skip(text, len);
    }
}

/* ---- The number that was meant ---- */

static bool drop_prefix(struct digits *d, const char *prefix)
{
    size_t len = strlen(prefix);
    if (len == 0 || d->len <= len || memcmp(d->at, prefix, len) != 0) {
        return false;
    }
    d->len -= len;
    memmove(d->at, d->at + len, d->len);
    return true;
}

static void put_prefix(struct digits *d, const char *prefix)
{
    size_t len = strlen(prefix);
    memmove(d->at + len, d->at, d->len);
    memcpy(d->at, prefix, len);
    d->len += len;
}

static bool fits(const struct country *c, size_t len)
{
    return len >= c->least && len <= c->most;
}

/* 0033… and, in America, 01133… */
static void take_abroad(struct digits *d, const struct country *home)
{
    const char *abroad = home == NULL || home->abroad == NULL ? "00" : home->abroad;
    bool is_long = d->len >= strlen(abroad) + 7;
    d->is_international = d->is_international || (is_long && drop_prefix(d, abroad));
}

/* +33 06… is +33 6…; no number of such a country begins with the zero. */
static void drop_home_zero(struct digits *d)
{
    for (size_t i = 0; i < COUNTRIES; i++) {
        const struct country *c = &countries[i];
        size_t code = strlen(c->code);
        size_t trunk = strlen(c->trunk);
        bool is_of = d->len > code + trunk && memcmp(d->at, c->code, code) == 0;
        if (is_of && trunk > 0 && c->trunk[0] == '0' &&
            memcmp(d->at + code, c->trunk, trunk) == 0 && d->at[code + trunk] != '0' &&
            fits(c, d->len - code - trunk)) {
            memmove(d->at + code, d->at + code + trunk, d->len - code - trunk);
            d->len -= trunk;
            return;
        }
    }
}

/* A number without a word of its country, as one of this country's. */
static void take_national(struct digits *d, const struct country *home)
{
    size_t code = strlen(home->code);
    size_t trunk = strlen(home->trunk);
    bool has_trunk = trunk > 0 && d->len > trunk && memcmp(d->at, home->trunk, trunk) == 0;
    bool has_code = d->len > code && memcmp(d->at, home->code, code) == 0 &&
                    fits(home, d->len - code) && (trunk > 0 || d->len > home->most);
    /* Behind the zero of calls at home comes no other. */
    bool is_plain = has_trunk && d->at[trunk] != '0';
    if (is_plain && fits(home, d->len - trunk)) {
        (void)drop_prefix(d, home->trunk);
        put_prefix(d, home->code);
    } else if (!has_code && fits(home, d->len) && !has_trunk) {
        put_prefix(d, home->code);
    } else if (!has_code) {
        return;
    }
    d->is_international = true;
}

struct slice phone_normalize(struct slice value, uint16_t country, struct arena *arena)
{
    struct digits d;
    const struct country *home = find_country(country);
    read_digits(value, &d);
    if (d.len == 0 || d.is_too_long) {
        return slice_make(NULL, 0);
    }
    take_abroad(&d, home);
    if (!d.is_international && home != NULL) {
        take_national(&d, home);
    }
    if (d.is_international) {
        drop_home_zero(&d);
    }
    if (d.is_international && d.len > E164_DIGITS_MAX + 3) {
        return slice_make(NULL, 0); /* nobody has so long a number */
    }
    uint8_t *text = arena_allocate(arena, d.len + 1);
    text[0] = '+';
    memcpy(text + d.is_international, d.at, d.len);
    return slice_make(text, d.len + d.is_international);
}

/* ---- Which country ---- */

static bool read_country(const msgpack_object *value, uint16_t *ret, struct error *err)
{
    struct slice text = slice_text("");
    *ret = value_text(value, &text) ? phone_country_from(text) : 0;
    return *ret != 0 ||
           error_set(err, ERROR_INVALID,
                     "\"%.*s\" is no country that phones are known of (two letters, as "
                     "FR)",
                     text.len > 40 ? 40 : (int)text.len, (const char *)text.data);
}

bool phone_countries_read(const msgpack_object *object, struct phone_countries *ret,
                          struct error *err)
{
    const msgpack_object *country = value_member_c(object, "country");
    const msgpack_object *sources = value_member_c(object, "sources");
    *ret = (struct phone_countries){0};
    if (object != NULL && object->type != MSGPACK_OBJECT_MAP) {
        return error_set(err, ERROR_INVALID, "\"phone\" must be an object");
    }
    if (country != NULL && !read_country(country, &ret->otherwise, err)) {
        return false;
    }
    if (sources != NULL &&
        (sources->type != MSGPACK_OBJECT_MAP || sources->via.map.size > PHONE_SOURCES_MAX)) {
        return error_set(err, ERROR_INVALID, "\"sources\" must be an object of up to %d countries",
                         PHONE_SOURCES_MAX);
    }
    for (uint32_t i = 0; sources != NULL && i < sources->via.map.size; i++) {
        const msgpack_object_kv *kv = &sources->via.map.ptr[i];
        if (!value_text(&kv->key, &ret->sources[i].source) ||
            !read_country(&kv->val, &ret->sources[i].country, err)) {
            return false;
        }
        ret->count++;
    }
    return true;
}

uint16_t phone_country_of(const struct phone_countries *c, struct slice source)
{
    for (size_t i = 0; i < c->count; i++) {
        if (slice_equal(c->sources[i].source, source)) {
            return c->sources[i].country;
        }
    }
    return c->otherwise;
}
