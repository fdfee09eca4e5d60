#include "shared/damage/log_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

enum { LOG_MAX = 4 << 20, RESERVED_BYTES = 20 * 1024, BLOCK_BYTES = 32 * 1024, RECORDS_MAX = 1000 };

struct fixture {
    struct buf log;
    struct buf copy;
    struct rand rand;
    size_t records;
    size_t begins[RECORDS_MAX + 1]; /* of each record, and where the last one ends */
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    buf_init(&f->log, LOG_MAX);
    buf_init(&f->copy, LOG_MAX);
    rand_seeded_init(&f->rand, 3);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->log);
    buf_done(&f->copy);
    free(f);
    return 0;
}

/* A record tells its number, and its bytes follow from that: some end with zeros, some have many.
 */
static void make_record(uint32_t n, size_t len, uint8_t *ret)
{
    struct rand rand;
    rand_seeded_init(&rand, n + 1);
    rand_fill(&rand, ret, len);
    if (n % 3 == 0) {
        memset(ret + len - len / 8, 0, len / 8);
    } else if (n % 7 == 0) {
        memset(ret, 0, len);
    }
    memcpy(ret, &n, sizeof n);
}

static void add(struct fixture *f, size_t len)
{
    static uint8_t bytes[LOG_MAX];
    make_record((uint32_t)f->records, len, bytes);
    f->begins[f->records] = f->log.len;
    log_append(&f->log, slice_make(bytes, len));
    f->records++;
    f->begins[f->records] = f->log.len;
}

static void add_zeros(struct fixture *f)
{
    static const uint8_t zeros[RESERVED_BYTES];
    buf_put(&f->log, zeros, sizeof zeros);
}

static void copy_log(struct fixture *f, size_t len)
{
    buf_clear(&f->copy);
    buf_put(&f->copy, f->log.data, len);
}

/* Whatever is read is what was written; which ones is told by bits. */
struct reading {
    uint8_t seen[RECORDS_MAX];
    bool is_wrong;
    size_t count;
};

static void check_record(void *user, struct slice record, size_t at)
{
    static uint8_t bytes[LOG_MAX];
    struct reading *r = user;
    uint32_t n;
    (void)at;
    memcpy(&n, record.data, sizeof n);
    if (n >= RECORDS_MAX) {
        r->is_wrong = true;
        return;
    }
    make_record(n, record.len, bytes);
    r->is_wrong = r->is_wrong || memcmp(bytes, record.data, record.len) != 0 || r->seen[n];
    r->seen[n] = 1;
    r->count++;
}

static struct reading check_copy(struct fixture *f, struct log_options options,
                                 struct log_report *report)
{
    struct reading reading = {0};
    options.record = check_record;
    options.user = &reading;
    log_check(f->copy.data, f->copy.len, &options, report);
    if (reading.is_wrong || reading.count != report->records) {
        fail_msg("a record came that was never written, or twice");
    }
    return reading;
}

static const struct log_options alone = {0};

static void add_varied(struct fixture *f)
{
    static const size_t lens[] = {12, 40, 513, 100, 3000, 700, 12, 40000, 33, 1500};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        add(f, lens[i]);
    }
}

static void test_what_was_appended_is_read_back(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    for (size_t len = 4; f->records < 400; len = len * 5 % 4099 + 4) {
        add(f, len);
    }
    add(f, 200 * 1000);
    for (int zeros = 0; zeros < 2; zeros++) {
        copy_log(f, f->log.len);
        (void)check_copy(f, alone, &report);
        assert_int_equal(report.state, LOG_WHOLE);
        assert_int_equal(report.records, f->records);
        add_zeros(f);
    }
}

/* Of a log of small records, the block may end at any byte. */
static void test_records_that_end_near_the_end_of_a_block_are_read_back(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    for (size_t len = BLOCK_BYTES - 40; len < BLOCK_BYTES + 10; len++) {
        buf_clear(&f->log);
        f->records = 0;
        add(f, len);
        add(f, 20);
        copy_log(f, f->log.len);
        (void)check_copy(f, alone, &report);
        assert_int_equal(report.state, LOG_WHOLE);
        assert_int_equal(report.records, 2);
    }
}

static size_t records_before(const struct fixture *f, size_t at)
{
    size_t n = 0;
    while (n < f->records && f->begins[n + 1] <= at) {
        n++;
    }
    return n;
}

/* What was not synced begins in the last block: the end of the file, or zeros, may begin anywhere
 * in the records that do. */
static void cut_everywhere(struct fixture *f, size_t from, bool leaves_zeros)
{
    struct log_report report;
    size_t end = f->begins[f->records];
    for (size_t at = from; at < end; at += at < 5000 || at > end - 2000 ? 1 : 23) {
        copy_log(f, leaves_zeros ? f->log.len : at);
        if (leaves_zeros) {
            memset(f->copy.data + at, 0, f->copy.len - at);
        }
        (void)check_copy(f, alone, &report);
        /* Zeros that a record has at its end are no loss. */
        size_t kept = records_before(f, at);
        if (report.state == LOG_DAMAGED || report.records < kept || report.records > kept + 1 ||
            (report.state == LOG_TORN && report.at != f->begins[report.records])) {
            fail_msg("cut at %zu: state %d, %llu records of %zu, at %zu", at, (int)report.state,
                     (unsigned long long)report.records, kept, report.at);
        }
    }
}

static void test_a_torn_tail_is_never_refused_at_any_byte(void **state)
{
    struct fixture *f = *state;
    add_varied(f);
    cut_everywhere(f, 0, false);
    add_zeros(f);
    cut_everywhere(f, 0, true);
}

/* Any sectors of what was not synced, as the disk pleases. */
static void test_lost_sectors_of_what_was_not_synced_are_torn(void **state)
{
    enum { SECTOR = 512, TRIES = 3000 };
    struct fixture *f = *state;
    struct log_report report;
    unsigned torn = 0;
    add_varied(f); /* the last two begin in the second block */
    add_zeros(f);
    size_t synced = f->begins[f->records - 2];
    for (int i = 0; i < TRIES; i++) {
        copy_log(f, f->log.len);
        for (size_t at = synced - synced % SECTOR; at < f->begins[f->records]; at += SECTOR) {
            size_t from = at < synced ? synced : at;
            if (rand_below(&f->rand, 4) == 0) {
                memset(f->copy.data + from, 0, at + SECTOR - from);
            }
        }
        struct reading reading = check_copy(f, alone, &report);
        assert_int_not_equal(report.state, LOG_DAMAGED);
        assert_true(report.records >= f->records - 2);
        assert_true(reading.seen[f->records - 3]);
        torn += report.state == LOG_TORN;
    }
    assert_true(torn > TRIES / 4);
}

static void flip(struct fixture *f, size_t bit)
{
    f->copy.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* One record is gone, and all others are read; none is missing without a word. */
static void test_a_turned_bit_is_damage_wherever_it_is(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    add_varied(f);
    for (int zeros = 0; zeros < 2; zeros++) {
        size_t end = f->begins[f->records];
        for (size_t bit = 0; bit < end * 8; bit += bit < 8000 || bit > (end - 400) * 8 ? 1 : 79) {
            copy_log(f, f->log.len);
            flip(f, bit);
            (void)check_copy(f, alone, &report);
            if (bit / 8 == end - 1 && f->copy.data[end - 1] == 0) {
                continue; /* as if the last byte had not been written */
            }
            bool is_trailer = report.state == LOG_WHOLE && report.records == f->records;
            size_t hit = records_before(f, bit / 8);
            if (!is_trailer && (report.state != LOG_DAMAGED || report.at != f->begins[hit] ||
                                report.records != f->records - 1)) {
                fail_msg("bit %zu: state %d, at %zu, %llu records", bit, (int)report.state,
                         report.at, (unsigned long long)report.records);
            }
            assert_true(!is_trailer || bit / 8 % BLOCK_BYTES > BLOCK_BYTES - 7);
        }
        add_zeros(f);
    }
}

static void test_a_turned_bit_is_turned_back(void **state)
{
    struct fixture *f = *state;
    struct log_options mending = {.mends = true};
    struct log_report report;
    add_varied(f);
    add_zeros(f);
    for (size_t bit = 0; bit < f->begins[f->records] * 8; bit += 29) {
        copy_log(f, f->log.len);
        flip(f, bit);
        (void)check_copy(f, mending, &report);
        assert_int_equal(report.state, LOG_WHOLE);
        assert_int_equal(report.records, f->records);
        assert_true(report.mended == 1 || bit / 8 % BLOCK_BYTES > BLOCK_BYTES - 7);
    }
}

/* As a sector that was overwritten, or that the disk lost later. */
static void test_other_damage_before_synced_records_is_damage(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    for (size_t i = 0; i < 300; i++) {
        add(f, 400);
    }
    add_zeros(f);
    for (size_t at = 0; at < (size_t)2 * BLOCK_BYTES; at += 512) {
        for (int zeros = 0; zeros < 2; zeros++) {
            copy_log(f, f->log.len);
            memset(f->copy.data + at, zeros ? 0 : 0xa5, 512);
            (void)check_copy(f, alone, &report);
            assert_int_equal(report.state, LOG_DAMAGED);
            assert_in_range(report.records, f->records - 3, f->records - 1);
            assert_in_range(report.at, at < 500 ? 0 : at - 500, at + 512);
        }
    }
}

/* In several bits, of the last record, where only zeros follow. */
static void test_a_length_that_was_overwritten_is_damage(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    add_varied(f);
    add(f, 1500);
    size_t at = f->begins[f->records - 1];
    add_zeros(f);
    for (unsigned len = 0; len < 65536; len += 13) {
        copy_log(f, f->log.len);
        f->copy.data[at + 4] = (uint8_t)len;
        f->copy.data[at + 5] = (uint8_t)(len >> 8);
        (void)check_copy(f, alone, &report);
        assert_true(len == 1500 || report.state == LOG_DAMAGED);
    }
}

static void test_what_a_later_log_follows_is_not_torn(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    struct log_options followed = {.is_followed = true};
    add_varied(f);
    copy_log(f, f->log.len - 100);
    (void)check_copy(f, followed, &report);
    assert_int_equal(report.state, LOG_DAMAGED);
    (void)check_copy(f, alone, &report);
    assert_int_equal(report.state, LOG_TORN);
}

/* Any bytes: it ends, and reads nothing that is not there. */
static void test_any_bytes_are_survived(void **state)
{
    struct fixture *f = *state;
    struct log_report report;
    for (uint64_t seed = 1; seed < 200; seed++) {
        rand_seeded_init(&f->rand, seed);
        size_t len = rand_below(&f->rand, 3 * BLOCK_BYTES);
        buf_clear(&f->copy);
        assert_true(buf_reserve(&f->copy, len));
        rand_fill(&f->rand, f->copy.data, len);
        f->copy.len = len;
        for (size_t i = 0; i < len; i++) {
            f->copy.data[i] &= seed % 2 == 0 ? 3 : 0xff;
        }
        struct log_options options = {.mends = seed % 3 == 0};
        log_check(f->copy.data, f->copy.len, &options, &report);
        assert_true(report.damaged_bytes <= len);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_appended_is_read_back),
        TEST(test_records_that_end_near_the_end_of_a_block_are_read_back),
        TEST(test_a_torn_tail_is_never_refused_at_any_byte),
        TEST(test_lost_sectors_of_what_was_not_synced_are_torn),
        TEST(test_a_turned_bit_is_damage_wherever_it_is),
        TEST(test_a_turned_bit_is_turned_back),
        TEST(test_other_damage_before_synced_records_is_damage),
        TEST(test_a_length_that_was_overwritten_is_damage),
        TEST(test_what_a_later_log_follows_is_not_torn),
        TEST(test_any_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
