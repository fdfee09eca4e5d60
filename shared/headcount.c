#include "shared/headcount.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/buf.h"

enum { SEATS_MIN = 64, SEATS_A_THING = 4 };

struct headcount {
    uint8_t key[crypto_shorthash_KEYBYTES];
    size_t seat_count;
    uint32_t seats[];
};

struct headcount *headcount_new(size_t things_max)
{
    size_t count = things_max * SEATS_A_THING < SEATS_MIN ? SEATS_MIN : things_max * SEATS_A_THING;
    struct headcount *h = memory_allocate_zeroed(sizeof *h + count * sizeof *h->seats);
    h->seat_count = count;
    crypto_shorthash_keygen(h->key);
    return h;
}

void headcount_free(struct headcount **headcount)
{
    free(*headcount);
    *headcount = NULL;
}

uint32_t headcount_seat(const struct headcount *h, struct address address)
{
    uint8_t hash[crypto_shorthash_BYTES];
    struct address party = address_of_party(address);
    crypto_shorthash(hash, party.bytes, sizeof party.bytes, h->key);
    return (uint32_t)(read_u64(hash) % h->seat_count);
}

size_t headcount_of(const struct headcount *h, uint32_t seat)
{
    return h->seats[seat];
}

void headcount_add(struct headcount *h, uint32_t seat)
{
    h->seats[seat]++;
}

void headcount_remove(struct headcount *h, uint32_t seat)
{
    ensure(h->seats[seat] > 0);
    h->seats[seat]--;
}
