/* Amounts of any locale: what is read is a number as JSON writes it, and says the same again; a
 * number has no other reading that differs by its thousands. And identifiers: what is trimmed names
 * somebody or nobody as before, and a telephone number that is normalised stays as it is. */
#include "collector/drop/amount.h"

#include "shared/blocked.h"
#include "shared/json.h"
#include "shared/phone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice text, char decimal, const char *thousands)
{
    struct amount amount;
    struct amount again;
    struct buf packed;
    if (amount_read(text, decimal, slice_text(thousands), &amount) != NULL) {
        return;
    }
    struct slice json = slice_make(amount.text, amount.len);
    ensure(amount.len > 0 && amount.len <= AMOUNT_BYTES_MAX);
    ensure((memchr(amount.text, '.', amount.len) != NULL) == amount.has_fraction);
    buf_init(&packed, 1024);
    enum json_fault fault = json_read(json, &packed);
    ensure(fault == JSON_FINE);
    const char *wrong = amount_read(json, '.', slice_text(""), &again);
    ensure(wrong == NULL && slice_equal(slice_make(again.text, again.len), json));
    buf_done(&packed);
}

static void check_phone(struct slice text, const char *country_name)
{
    struct arena arena;
    uint16_t country = phone_country_from(slice_text(country_name));
    arena_init(&arena, 256);
    struct slice once = phone_normalize(text, country, &arena);
    struct slice twice = phone_normalize(once, country, &arena);
    ensure(slice_equal(once, twice) && once.len <= 65);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct slice trimmed = identifier_trim(text);
    check(text, ',', ".");
    check(text, '.', ",");
    check(text, ',', " ");
    check(text, '.', "\xe2\x80\x99");
    for (int n = NORMALIZE_TRIM; n <= NORMALIZE_PHONE; n++) {
        enum identifier_normalizer normalizer = (enum identifier_normalizer)n;
        ensure(blocked_value(slice_text("card"), normalizer, text) ==
               blocked_value(slice_text("card"), normalizer, trimmed));
    }
    (void)blocked_matches(text, text);
    check_phone(text, "");
    check_phone(text, "FR");
    check_phone(text, "IT");
    check_phone(text, "US");
    check_phone(text, "DE");
    return 0;
}
