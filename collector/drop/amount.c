#include "collector/drop/amount.h"

static const char no_number[] = "this is no number with the mapping's marks";
static const char wrong_group[] =
    "the digits between the marks of thousands are not three, so that the number may be another";
static const char no_decimals[] = "behind the decimal mark there are no digits alone";
static const char two_signs[] = "the number has more than one sign";
static const char two_currencies[] = "the number has more than one currency";
static const char rounded[] = "a spreadsheet has rounded this number";
static const char too_long[] = "the number has too many digits";

/* What a text is made of, each in one byte: digits and ASCII marks stand for themselves. */
enum {
    TOKEN_SPACE = ' ',
    TOKEN_APOSTROPHE = '\'',
    TOKEN_MINUS = '-',
    TOKEN_GROUP = '_',    /* a mark that can be nothing else: U+066C */
    TOKEN_CURRENCY = '$', /* a sign, a name or a code */
    TOKEN_WRONG = '?',
};

struct tokens {
    uint8_t at[AMOUNT_BYTES_MAX];
    size_t begin;
    size_t end;
};

/* ---- Characters ---- */

static const struct {
    const char *text;
    char token; /* 0: passed over */
} characters[] = {
    {"\xc2\xa0", TOKEN_SPACE},          /* no-break space */
    {"\xe2\x80\xaf", TOKEN_SPACE},      /* narrow no-break space */
    {"\xe2\x80\x89", TOKEN_SPACE},      /* thin space */
    {"\xe2\x80\x87", TOKEN_SPACE},      /* figure space */
    {"\xe2\x80\x99", TOKEN_APOSTROPHE}, /* right single quotation mark */
    {"\xca\xbc", TOKEN_APOSTROPHE},     /* modifier letter apostrophe */
    {"\xe2\x88\x92", TOKEN_MINUS},      /* minus sign */
    {"\xe2\x80\x93", TOKEN_MINUS},      /* en dash */
    {"\xe2\x80\x94", TOKEN_MINUS},      /* em dash */
    {"\xef\xbc\x8d", TOKEN_MINUS},      /* full-width hyphen */
    {"\xef\xbc\x8b", '+'},              /* full-width plus */
    {"\xef\xbc\x8c", ','},              /* full-width comma */
    {"\xef\xbc\x8e", '.'},              /* full-width full stop */
    {"\xd9\xac", TOKEN_GROUP},          /* Arabic thousands separator */
    {"\xc2\xa3", TOKEN_CURRENCY},       /* pound */
    {"\xc2\xa5", TOKEN_CURRENCY},       /* yen */
    {"\xef\xbf\xa5", TOKEN_CURRENCY},   /* full-width yen */
    {"\xe2\x80\x8e", 0},                /* marks of the direction of writing */
    {"\xe2\x80\x8f", 0},
    {"\xd8\x9c", 0},
};

/* Names of currencies that hold letters, the longer before what they begin with. */
static const char *const names[] = {
    "US$",
    "HK$",
    "NT$",
    "R$",
    "A$",
    "C$",
    "S$",
    "CA$",
    "AU$",
    "z\xc5\x82",
    "K\xc4\x8d",
    "Ft",
    "kr.",
    "kr",
    "Kr.",
    "Kr",
    "SFr.",
    "Fr.",
    "Fr",
    "lei",
    "Lei",
    "RM",
    "Rp",
    "Rs.",
    "Rs",
    "TL",
    "din.",
    "\xe5\x86\x86",
    "\xe5\x85\x83",
    "\xec\x9b\x90",
    "\xd0\xbb\xd0\xb2.",
    "\xd0\xbb\xd0\xb2",
    "\xd1\x80\xd1\x83\xd0\xb1.",
    "\xd1\x80\xd1\x83\xd0\xb1",
    "\xd1\x80.",
};

static const char codes[] =
    "AED ARS AUD BGN BHD BRL CAD CHF CLP CNY COP CZK DKK DZD EGP EUR GBP HKD HRK HUF IDR ILS INR "
    "ISK JOD JPY KES KRW KWD KZT LBP MAD MXN MYR NGN NOK NZD OMR PEN PHP PKR PLN QAR RON RSD RUB "
    "SAR SEK SGD THB TND TRY TWD UAH USD UYU VND XAF XOF XPF ZAR ";

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(struct slice text, size_t at)
{
    return at < text.len && ((text.data[at] | 0x20) >= 'a' && (text.data[at] | 0x20) <= 'z');
}

static bool is_code(struct slice text)
{
    for (size_t i = 0; i + 4 < sizeof codes; i += 4) {
        if (text.len >= 3 && memcmp(text.data, codes + i, 3) == 0) {
            return !is_letter(text, 3);
        }
    }
    return false;
}

/* How many bytes of the text are a currency; 0: none. */
static size_t currency_at(struct slice text)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_starts_with(text, slice_text(names[i])) && !is_letter(text, strlen(names[i]))) {
            return strlen(names[i]);
        }
    }
    /* U+20A0 to U+20CF */
    bool is_sign = text.len >= 3 && text.data[0] == 0xE2 && text.data[1] == 0x82 &&
                   text.data[2] >= 0xA0 && text.data[2] <= 0xBF;
    bool is_late_sign = text.len >= 3 && text.data[0] == 0xE2 && text.data[1] == 0x83 &&
                        text.data[2] >= 0x80 && text.data[2] <= 0x8F;
    return is_sign || is_late_sign ? 3 : text.data[0] == '$' ? 1 : is_code(text) ? 3 : 0;
}

/* Arabic and Persian digits have two bytes, those of full width three. */
static size_t digit_at(struct slice text, char *ret)
{
    if (text.len >= 2 && text.data[0] == 0xD9 && text.data[1] >= 0xA0 && text.data[1] <= 0xA9) {
        *ret = (char)('0' + (text.data[1] - 0xA0));
        return 2;
    }
    if (text.len >= 2 && text.data[0] == 0xDB && text.data[1] >= 0xB0 && text.data[1] <= 0xB9) {
        *ret = (char)('0' + (text.data[1] - 0xB0));
        return 2;
    }
    if (text.len >= 3 && text.data[0] == 0xEF && text.data[1] == 0xBC && text.data[2] >= 0x90 &&
        text.data[2] <= 0x99) {
        *ret = (char)('0' + (text.data[2] - 0x90));
        return 3;
    }
    return 0;
}

/* The first character of the text as a token, and how many bytes it has. */
static size_t next_token(struct slice text, char decimal, char *ret)
{
    size_t len = currency_at(text);
    if (len > 0) {
        *ret = TOKEN_CURRENCY;
        return len;
    }
    len = digit_at(text, ret);
    if (len > 0) {
        return len;
    }
    if (slice_starts_with(text, slice_text("\xd9\xab"))) { /* U+066B is a decimal mark */
        *ret = decimal;
        return 2;
    }
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        if (slice_starts_with(text, slice_text(characters[i].text))) {
            *ret = characters[i].token;
            return strlen(characters[i].text);
        }
    }
    bool is_known = is_digit(text.data[0]) || (text.data[0] != 0 && text.data[0] < 0x80 &&
                                               strchr(" \t'-+.,()eE", text.data[0]) != NULL);
    *ret = is_known ? (char)text.data[0] : (char)TOKEN_WRONG;
    *ret = *ret == '\t' ? (char)TOKEN_SPACE : *ret;
    return 1;
}

static const char *tokenize(struct slice text, char decimal, struct slice thousands,
                            struct tokens *ret)
{
    *ret = (struct tokens){0};
    while (text.len > 0) {
        char token;
        /* The mapping's own mark, where it is none that is known by itself. */
        bool is_own = thousands.len > 0 && thousands.data[0] != '.' && thousands.data[0] != ',' &&
                      slice_starts_with(text, thousands);
        size_t len = next_token(text, decimal, &token);
        if (is_own && token == TOKEN_WRONG) {
            token = TOKEN_GROUP;
            len = thousands.len;
        }
        if (token == TOKEN_WRONG) {
            return no_number;
        }
        if (ret->end == sizeof ret->at) {
            return too_long;
        }
        if (token != 0) {
            ret->at[ret->end++] = (uint8_t)token;
        }
        text = slice_skip(text, len);
    }
    return NULL;
}

/* ---- What stands around the digits ---- */

struct around {
    unsigned signs;
    unsigned currencies;
    bool is_negative;
    bool is_open; /* a parenthesis */
    bool is_closed;
};

/* True: the token belongs around the digits. */
static bool take_around(struct around *a, uint8_t token, bool is_before)
{
    switch (token) {
    case TOKEN_SPACE:
        return true;
    case TOKEN_MINUS:
        a->is_negative = true;
        a->signs++;
        return true;
    case '+':
        a->signs++;
        return true;
    case TOKEN_CURRENCY:
        a->currencies++;
        return true;
    case '(':
        a->signs += is_before;
        a->is_open = a->is_open || is_before;
        return is_before;
    case ')':
        a->is_closed = a->is_closed || !is_before;
        return !is_before;
    default:
        return false;
    }
}

/* "12,-" and "12.--" say that there are no cents. */
static void drop_no_cents(struct tokens *t, char decimal)
{
    size_t end = t->end;
    while (end > t->begin && t->at[end - 1] == TOKEN_MINUS) {
        end--;
    }
    bool is_mark = end < t->end && end > t->begin + 1 && t->at[end - 1] == (uint8_t)decimal &&
                   is_digit(t->at[end - 2]);
    if (is_mark && t->end - end <= 2) {
        t->end = end - 1;
    }
}

static const char *strip(struct tokens *t, char decimal, bool *ret_negative)
{
    struct around a = {0};
    while (t->begin < t->end && take_around(&a, t->at[t->begin], true)) {
        t->begin++;
    }
    bool has_sign_behind = false;
    for (;;) {
        if (!has_sign_behind) {
            drop_no_cents(t, decimal);
        }
        if (t->begin == t->end || !take_around(&a, t->at[t->end - 1], false)) {
            break;
        }
        t->end--;
        has_sign_behind = has_sign_behind || t->at[t->end] == TOKEN_MINUS;
    }
    *ret_negative = a.is_negative || a.is_open;
    return t->begin == t->end || a.is_open != a.is_closed ? no_number
           : a.signs > 1                                  ? two_signs
           : a.currencies > 1                             ? two_currencies
                                                          : NULL;
}

/* ---- The digits ---- */

/* Is the token a mark between groups of thousands? */
static bool is_group(uint8_t token, struct slice thousands, char decimal)
{
    bool is_mapped = thousands.len == 1 && token == thousands.data[0] && token != (uint8_t)decimal;
    return token == TOKEN_SPACE || token == TOKEN_APOSTROPHE || token == TOKEN_GROUP || is_mapped;
}

static bool put(struct amount *to, char c)
{
    if (to->len == sizeof to->text) {
        return false;
    }
    to->text[to->len++] = c;
    return true;
}

/* JSON has no zeros before the first digit that counts. */
static bool put_digit(struct amount *to, char c)
{
    bool is_leading_zero = to->len > 0 && to->text[to->len - 1] == '0' &&
                           (to->len == 1 || to->text[to->len - 2] == '-');
    to->len -= is_leading_zero && !to->has_fraction;
    return put(to, c);
}

static size_t count_digits(const struct tokens *t)
{
    size_t count = 0;
    while (t->begin + count < t->end && is_digit(t->at[t->begin + count])) {
        count++;
    }
    return count;
}

static bool take_digits(struct tokens *t, size_t count, struct amount *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (!put_digit(ret, (char)t->at[t->begin++])) {
            return false;
        }
    }
    return true;
}

/* The whole part. Of groups the last has three digits, those between three or, in India, two; the
 * first has at most as many. */
static const char *take_whole(struct tokens *t, struct slice thousands, char decimal,
                              struct amount *ret)
{
    size_t len = count_digits(t);
    size_t first = len;
    size_t between = 0;
    size_t groups = 0;
    uint8_t mark = 0;
    if (!take_digits(t, len, ret)) {
        return too_long;
    }
    while (t->begin < t->end && is_group(t->at[t->begin], thousands, decimal)) {
        bool is_other = mark != 0 && (mark != t->at[t->begin] || (between != 0 && len != between));
        if (len == 0 || is_other) {
            return wrong_group;
        }
        between = mark == 0 ? 0 : len;
        mark = t->at[t->begin++];
        len = count_digits(t);
        groups++;
        if (!take_digits(t, len, ret)) {
            return too_long;
        }
    }
    bool fits = len == 3 && (between == 0 || between == 2 || between == 3) &&
                first <= (between == 2 ? 2U : 3U);
    return groups == 0 || fits ? NULL : wrong_group;
}

static const char *take_number(struct tokens *t, struct slice thousands, char decimal,
                               struct amount *ret)
{
    if (t->at[t->begin] == (uint8_t)decimal) {
        (void)put(ret, '0');
    } else if (!is_digit(t->at[t->begin])) {
        return no_number;
    } else {
        const char *wrong = take_whole(t, thousands, decimal, ret);
        if (wrong != NULL) {
            return wrong;
        }
    }
    if (t->begin < t->end && t->at[t->begin] == (uint8_t)decimal) {
        t->begin++;
        ret->has_fraction = true;
        size_t len = count_digits(t);
        if (len == 0) {
            return no_decimals;
        }
        if (!put(ret, '.') || !take_digits(t, len, ret)) {
            return too_long;
        }
    }
    if (t->begin < t->end && (t->at[t->begin] | 0x20) == 'e') {
        return rounded;
    }
    return t->begin < t->end ? no_number : NULL;
}

const char *amount_read(struct slice text, char decimal, struct slice thousands, struct amount *ret)
{
    struct tokens tokens;
    bool is_negative = false;
    ret->len = 0;
    ret->has_fraction = false;
    const char *wrong = tokenize(text, decimal, thousands, &tokens);
    if (wrong == NULL) {
        wrong = strip(&tokens, decimal, &is_negative);
    }
    if (wrong == NULL && is_negative) {
        (void)put(ret, '-');
    }
    return wrong != NULL ? wrong : take_number(&tokens, thousands, decimal, ret);
}
