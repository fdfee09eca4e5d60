#include "collector/gate/bots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "collector/gate/crawlers.h"
#include "shared/buf.h"

/* What people use. */
static const char *const browsers[] = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Safari/537.36",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; SM-S908B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/112.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86",
    "Mozilla/5.0 (Linux; Android 10; HD1913) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.6778.200 Mobile Safari/537.36 EdgA/131.0.2903.87",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14.7; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) FxiOS/133.0 Mobile/15E148 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7_2) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.2 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 17_7_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) CriOS/131.0.6778.154 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36 OPR/115.0.0.0",
    "Mozilla/5.0 (Linux; Android 10; VOG-L29) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.6778.200 Mobile Safari/537.36 OPR/76.2.4027.73374",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.6778.205 Safari/537.36 Vivaldi/7.0.3495.27",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 YaBrowser/24.12.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Silk/108.4.6 like Chrome/108.0.5359.220 Safari/537.36",
    "Mozilla/5.0 (Linux; U; Android 12; en-us; Redmi Note 9 Pro) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Version/4.0 Chrome/100.0.4896.127 Mobile Safari/537.36 XiaoMi/MiuiBrowser/13.28.0-gn",
    "Mozilla/5.0 (Linux; U; Android 13; en-US; CPH2269) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/100.0.4896.58 UCBrowser/13.7.8.1321 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; HarmonyOS; NOH-AN00) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/99.0.4844.88 HuaweiBrowser/14.0.5.302 Mobile Safari/537.36",
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) "
    "94.0.4606.31/7.0 TV Safari/537.36",
    "Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/13.0 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 Instagram 361.0.0.35.82 (iPhone14,5; iOS 18_1; de_DE; de; scale=3.00; "
    "1170x2532; 674117118)",
};

static int set_up(void **state)
{
    *state = bots_new();
    return 0;
}

static int tear_down(void **state)
{
    struct bots *bots = *state;
    bots_free(&bots);
    assert_null(bots);
    bots_free(&bots); /* closing NULL is allowed */
    return 0;
}

static void test_every_example_of_the_list_is_a_bot(void **state)
{
    assert_true(crawler_example_count > 1500);
    for (size_t i = 0; i < crawler_example_count; i++) {
        if (!bots_is_bot(*state, slice_text(crawler_vectors[i].user_agent))) {
            fail_msg("passes: %s", crawler_vectors[i].user_agent);
        }
    }
}

static void test_browsers_of_people_are_none(void **state)
{
    assert_int_equal(sizeof browsers / sizeof *browsers, 30);
    for (size_t i = 0; i < sizeof browsers / sizeof *browsers; i++) {
        if (bots_is_bot(*state, slice_text(browsers[i]))) {
            fail_msg("refused: %s", browsers[i]);
        }
    }
}

static void test_mutated_examples_are_judged_as_javascript_does(void **state)
{
    size_t bots = 0;
    assert_true(crawler_vector_count >= crawler_example_count + 5000);
    for (size_t i = crawler_example_count; i < crawler_vector_count; i++) {
        const struct crawler_vector *vector = &crawler_vectors[i];
        /* First computed, then remembered. */
        for (int round = 0; round < 2; round++) {
            if (bots_is_bot(*state, slice_text(vector->user_agent)) != vector->is_crawler) {
                fail_msg("number %zu, round %d: JavaScript says %d to: %s", i, round,
                         vector->is_crawler, vector->user_agent);
            }
        }
        bots += vector->is_crawler;
    }
    /* Both answers are asked for often. */
    assert_in_range(bots, 1000, crawler_vector_count - crawler_example_count - 1000);
}

static void test_what_is_no_text_is_no_bot(void **state)
{
    static const uint8_t bytes[] = {0, 0xff, 0xfe, 0, 'c', 'u', 0, 0xc3};
    assert_false(bots_is_bot(*state, slice_make(NULL, 0)));
    assert_false(bots_is_bot(*state, slice_make(bytes, sizeof bytes)));
}

static void test_only_the_beginning_of_a_long_text_is_looked_at(void **state)
{
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < BOTS_BYTES_MAX - 10; i++) {
        buf_put_u8(&text, ' ');
    }
    buf_put_slice(&text, slice_text("Googlebot/2.1"));
    assert_true(bots_is_bot(*state, buf_slice(&text)));
    memmove(text.data + 1, text.data, text.len - 1);
    assert_false(bots_is_bot(*state, buf_slice(&text)));
    buf_done(&text);
}

static void test_a_text_that_makes_an_expression_try_everything_is_a_bot(void **state)
{
    struct buf text;
    buf_init(&text, 4096);
    while (text.len < BOTS_BYTES_MAX) {
        buf_put_slice(&text, slice_text("ContextualBot outcomes.ne "));
    }
    assert_true(bots_match(*state, buf_slice(&text)));
    buf_done(&text);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_every_example_of_the_list_is_a_bot),
        WITH(test_browsers_of_people_are_none),
        WITH(test_mutated_examples_are_judged_as_javascript_does),
        WITH(test_what_is_no_text_is_no_bot),
        WITH(test_only_the_beginning_of_a_long_text_is_looked_at),
        WITH(test_a_text_that_makes_an_expression_try_everything_is_a_bot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
