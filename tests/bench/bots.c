/* What the bot filter costs for each user agent, in nanoseconds: remembered, not remembered, and
 * made by somebody who wants it to cost much. Prints one line of JSON. */
#include <sodium.h>
#include <stdio.h>
#include <time.h>
#include "collector/gate/bots.h"
#include "shared/buf.h"

enum { ROUNDS = 200000, DIFFERENT = 64, TEXT_BYTES = BOTS_BYTES_MAX + 1 };

static const char browser[] = "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S9%02zuB) "
                              "AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 "
                              "Chrome/125.0.0.0 Mobile Safari/537.36";

static volatile size_t found;

/* `texts` in turn; nanoseconds for each. */
static double measure(struct bots *bots, char texts[][TEXT_BYTES], size_t rounds, bool remembers)
{
    clock_t start = clock(); /* of this process alone, whoever else is busy */
    for (size_t i = 0; i < rounds; i++) {
        struct slice text = slice_text(texts[i % DIFFERENT]);
        found += remembers ? bots_is_bot(bots, text) : bots_match(bots, text);
    }
    return (double)(clock() - start) * (1e9 / CLOCKS_PER_SEC) / (double)rounds;
}

/* As long as is looked at, and nothing but this. */
static void repeat(char texts[][TEXT_BYTES], const char *part)
{
    for (size_t i = 0; i < DIFFERENT; i++) {
        for (size_t at = 0; at < BOTS_BYTES_MAX; at++) {
            texts[i][at] = part[at % strlen(part)];
        }
        texts[i][BOTS_BYTES_MAX] = 0;
    }
}

int main(void)
{
    static char texts[DIFFERENT][TEXT_BYTES];
    static const char *const hostile[] = {"Mozill", "Spider spider.co ",
                                          "Current RSS Reade RSS Reader",
                                          "ContextualBot outcomes.ne ", "get ingdom rawler ludo "};
    if (sodium_init() < 0) {
        return 1;
    }
    struct bots *bots = bots_new();
    for (size_t i = 0; i < DIFFERENT; i++) {
        snprintf(texts[i], TEXT_BYTES, browser, i);
    }
    double hit = measure(bots, texts, ROUNDS, true);
    double miss = measure(bots, texts, ROUNDS, false);
    double worst = 0;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        repeat(texts, hostile[i]);
        double ns = measure(bots, texts, ROUNDS / 100, false);
        worst = ns > worst ? ns : worst;
    }
    printf("{\"hit\":%.1f,\"miss\":%.1f,\"worst\":%.1f}\n", hit, miss, worst);
    bots_free(&bots);
    return 0;
}
