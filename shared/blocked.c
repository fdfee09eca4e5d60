#include "shared/blocked.h"

#include <strings.h>

enum {
    SAME_DIGITS_MIN = 6, /* a number of so many equal digits was typed to pass a form */
    UUID_TEXT_LEN = 36,
};

const char *const blocked_words[] = {
    "null",
    "nil",
    "none",
    "undefined",
    "nan",
    "n/a",
    "n.a.",
    "na",
    "#n/a",
    "#null!",
    "#ref!",
    "#value!",
    "#name?",
    "#div/0!",
    "\\n",
    "not set",
    "no value",
    "novalue",
    "anonymous",
    "anonymous user",
    "anonyme",
    "guest",
    "unknown",
    "inconnu",
    "unbekannt",
    "true",
    "false",
    "object null",
    "infinity",
    "-infinity",
    "undef",
    "not available",
    "object object",
    "invalid date",
    "object undefined",
    "undefined undefined",
    "null null",
    "none none",
    NULL,
};

const char *const blocked_kinds[] = {
    "Nothing but zeros, punctuation and white space, as -, 0, 00000000 and the UUID of zeros.",
    "Six equal digits or more, as 9999999999, in anything but user_id and anonymous_id; the UUID "
    "of "
    "ones (ffffffff-ffff-…).",
    "A long number as a spreadsheet rounds it: 9.78202E+12.",
    "A template that nobody filled in: {{id}}, ${id}, <%= id %>, %%id%%, *|ID|*.",
    "A value with a control character in it, NUL among them.",
    "An e-mail without one @, without a domain, or with a space in it; one that nobody reads "
    "(noreply@…, null@…); one made up on both sides, as test@test.com and noemail@nomail.fr.",
    NULL,
};

/* Of made-up addresses: before the @, and the domain before its last dot. */
static const char *const made_up[] = {
    "test",        "tests", "testing",   "noemail",  "no-email",  "nomail",   "no-mail",
    "email",       "mail",  "none",      "null",     "nobody",    "unknown",  "undefined",
    "dummy",       "fake",  "xxx",       "xxxx",     "asdf",      "qwerty",   "abc",
    "na",          "no",    "default",   "guest",    "anonymous", "client",   "customer",
    "placeholder", "aucun", "pasdemail", "sansmail", "keine",     "sinemail", "sincorreo",
    "nessuna",     NULL,
};

/* Nobody is behind these, whatever the domain. */
static const char *const unread[] = {
    "noreply", "no-reply",  "no_reply", "donotreply", "do-not-reply",
    "null",    "undefined", "none",     "nan",        NULL,
};

static bool is_same(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* The first letter tells most of them apart: this is asked of each identifier of each event. */
static bool is_one_of(const char *const *words, struct slice text)
{
    uint8_t first = text.len == 0 ? 0 : lower(text.data[0]);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (lower((uint8_t)words[i][0]) == first && is_same(text, words[i])) {
            return true;
        }
    }
    return false;
}

/* ASCII's quotes and brackets, and those of “typography” and «French». */
static size_t wrapper_at_start(struct slice text)
{
    if (strchr("\"'`<([{", text.data[0]) != NULL && text.data[0] != 0) {
        return 1;
    }
    if (text.len >= 3 && text.data[0] == 0xE2 && text.data[1] == 0x80 && text.data[2] >= 0x98 &&
        text.data[2] <= 0x9F) {
        return 3;
    }
    return text.len >= 2 && text.data[0] == 0xC2 && text.data[1] == 0xAB ? 2 : 0;
}

static size_t wrapper_at_end(struct slice text)
{
    const uint8_t *end = text.data + text.len;
    if (end[-1] != 0 && strchr("\"'`>)]}", end[-1]) != NULL) {
        return 1;
    }
    if (text.len >= 3 && end[-3] == 0xE2 && end[-2] == 0x80 && end[-1] >= 0x98 && end[-1] <= 0x9F) {
        return 3;
    }
    return text.len >= 2 && end[-2] == 0xC2 && end[-1] == 0xBB ? 2 : 0;
}

/* Without the white space, quotes and brackets around it. */
static struct slice unwrap(struct slice text)
{
    for (;;) {
        size_t before = text.len;
        text = identifier_trim(text);
        text = text.len > 0 ? slice_skip(text, wrapper_at_start(text)) : text;
        text.len -= text.len > 0 ? wrapper_at_end(text) : 0;
        if (text.len == before) {
            return text;
        }
    }
}

static bool is_wrapped(struct slice text, const char *start, const char *end)
{
    struct slice tail = slice_text(end);
    return text.len >= strlen(start) + tail.len && slice_starts_with(text, slice_text(start)) &&
           slice_equal(slice_skip(text, text.len - tail.len), tail);
}

static bool is_template(struct slice text)
{
    static const char *const marks[][2] = {{"{{", "}}"}, {"${", "}"},  {"#{", "}"}, {"<%", "%>"},
                                           {"%%", "%%"}, {"*|", "|*"}, {"[[", "]]"}};
    for (size_t i = 0; text.len > 0 && i < sizeof marks / sizeof *marks; i++) {
        if ((uint8_t)marks[i][0][0] == text.data[0] && is_wrapped(text, marks[i][0], marks[i][1])) {
            return true;
        }
    }
    return false;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

struct census {
    size_t controls;
    size_t others; /* letters of any script, digits from 1 to 9 */
    size_t letters;
    size_t digits;
    bool has_one_digit; /* all its digits are the same */
};

static struct census count(struct slice text)
{
    struct census c = {.has_one_digit = true};
    uint8_t first = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        bool is_letter = byte >= 0x80 || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
        c.controls += byte < 0x20 || byte == 0x7F;
        c.letters += is_letter;
        c.others += is_letter || (byte >= '1' && byte <= '9');
        if (is_digit(byte)) {
            first = c.digits == 0 ? byte : first;
            c.has_one_digit = c.has_one_digit && byte == first;
            c.digits++;
        }
    }
    return c;
}

static size_t digits_at(struct slice text, size_t at)
{
    size_t start = at;
    while (at < text.len && is_digit(text.data[at])) {
        at++;
    }
    return at - start;
}

/* 9.78202E+12, 9,78E12, 3E+12: an exponent with a sign, or behind a fraction. An id such as 12e34
 * has neither. */
static bool is_rounded(struct slice text)
{
    size_t at = digits_at(text, 0);
    bool has_mark = false;
    if (at == 0 || at == text.len) {
        return false;
    }
    if (text.data[at] == '.' || text.data[at] == ',') {
        at += 1 + digits_at(text, at + 1);
        has_mark = true;
    }
    if (at == text.len || (text.data[at] | 0x20) != 'e') {
        return false;
    }
    at++;
    if (at < text.len && text.data[at] == '+') {
        has_mark = true;
        at++;
    }
    size_t exponent = digits_at(text, at);
    return has_mark && exponent > 0 && at + exponent == text.len;
}

static bool is_uuid_of_ones(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] | 0x20) != 'f' && text.data[i] != '-') {
            return false;
        }
    }
    return text.len == UUID_TEXT_LEN;
}

/* test2@test.com too. */
static struct slice without_number(struct slice text)
{
    while (text.len > 1 && is_digit(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

static bool is_no_address(struct slice text)
{
    const uint8_t *at = memchr(text.data, '@', text.len);
    if (at == NULL) {
        return true;
    }
    size_t len = (size_t)(at - text.data);
    struct slice local = slice_make(text.data, len);
    struct slice domain = slice_skip(text, len + 1);
    if (local.len == 0 || domain.len == 0 || memchr(domain.data, '@', domain.len) != NULL ||
        memchr(text.data, ' ', text.len) != NULL) {
        return true;
    }
    size_t stem = domain.len;
    for (size_t i = domain.len; i-- > 0 && stem == domain.len;) {
        stem = domain.data[i] == '.' ? i : stem;
    }
    return is_one_of(unread, local) || (is_one_of(made_up, without_number(local)) &&
                                        is_one_of(made_up, slice_make(domain.data, stem)));
}

bool blocked_value(struct slice type, enum identifier_normalizer normalizer, struct slice value)
{
    struct slice text = unwrap(value);
    struct census c = count(text);
    bool is_name = slice_is(type, "user_id") || slice_is(type, "anonymous_id");
    if (c.others == 0 || c.controls > 0 || is_template(identifier_trim(value))) {
        return true;
    }
    if (c.letters == 0 && !is_name && c.has_one_digit && c.digits >= SAME_DIGITS_MIN) {
        return true;
    }
    return is_one_of(blocked_words, text) || is_rounded(text) || is_uuid_of_ones(text) ||
           (normalizer == NORMALIZE_EMAIL && is_no_address(text));
}

bool blocked_matches(struct slice pattern, struct slice text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX; /* behind the last star, which may take up to text[taken] */
    size_t taken = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = ++p;
            taken = t;
        } else if (p < pattern.len &&
                   (pattern.data[p] == '?' || lower(pattern.data[p]) == lower(text.data[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.len;
}
