/* How many each party has of something that is bounded: connections, requests that wait.
 *
 * Memory is fixed, 4 bytes a seat: parties (addresses of IPv4, networks of 64 bits of IPv6) sit by
 * a keyed hash on four times as many seats as there may be things, so that now and then two share
 * one, and are counted together. Its owner locks.
 */
#ifndef TRIBUTARY_SHARED_HEADCOUNT_H
#define TRIBUTARY_SHARED_HEADCOUNT_H

#include "shared/address.h"

struct headcount;

/* `things_max`: of all parties together. */
struct headcount *headcount_new(size_t things_max);
void headcount_free(struct headcount **headcount);

/* Where a party sits. */
uint32_t headcount_seat(const struct headcount *headcount, struct address address);
size_t headcount_of(const struct headcount *headcount, uint32_t seat);
void headcount_add(struct headcount *headcount, uint32_t seat);
void headcount_remove(struct headcount *headcount, uint32_t seat);

#endif
