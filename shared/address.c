#include "shared/address.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum {
    IPV4_AT = 12,
    IPV4_BITS = 96,
    TRUNCATED_IPV4 = 96 + 24,
    TRUNCATED_IPV6 = 48,
    PARTY_IPV6 = 64
};

static const uint8_t ipv4_prefix[IPV4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct address from_ipv4(const void *four)
{
    struct address address;
    memcpy(address.bytes, ipv4_prefix, IPV4_AT);
    memcpy(address.bytes + IPV4_AT, four, 4);
    return address;
}

static bool is_ipv4(struct address address)
{
    return memcmp(address.bytes, ipv4_prefix, IPV4_AT) == 0;
}

static bool is_separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && is_separator(text.data[0])) {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && is_separator(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

static bool parse_bare(struct slice text, struct address *ret)
{
    char copy[ADDRESS_TEXT_BYTES];
    uint8_t four[4];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, 0, text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (inet_pton(AF_INET, copy, four) == 1) {
        *ret = from_ipv4(four);
        return true;
    }
    return inet_pton(AF_INET6, copy, ret->bytes) == 1;
}

bool address_parse(struct slice text, struct address *ret)
{
    text = trim(text);
    const uint8_t *colon = text.len == 0 ? NULL : memchr(text.data, ':', text.len);
    if (text.len > 0 && text.data[0] == '[') {
        const uint8_t *end = memchr(text.data, ']', text.len);
        return end != NULL &&
               parse_bare(slice_make(text.data + 1, (size_t)(end - text.data) - 1), ret);
    }
    if (colon != NULL && memchr(text.data, '.', (size_t)(colon - text.data)) != NULL) {
        text.len = (size_t)(colon - text.data);
    }
    return parse_bare(text, ret);
}

bool address_from_socket(const struct sockaddr *socket, struct address *ret)
{
    /* Copied, because a sockaddr promises no alignment of what it is the head of. */
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    if (socket != NULL && socket->sa_family == AF_INET) {
        memcpy(&ipv4, socket, sizeof ipv4);
        *ret = from_ipv4(&ipv4.sin_addr);
        return true;
    }
    if (socket != NULL && socket->sa_family == AF_INET6) {
        memcpy(&ipv6, socket, sizeof ipv6);
        memcpy(ret->bytes, &ipv6.sin6_addr, sizeof ret->bytes);
        return true;
    }
    return false;
}

/* The first bits; the others become zero. */
static struct address first_bits(struct address address, unsigned bits)
{
    for (unsigned i = 0; i < sizeof address.bytes; i++) {
        unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * i : 0;
        address.bytes[i] &= (uint8_t)(0xff00U >> kept);
    }
    return address;
}

struct address address_truncate(struct address address)
{
    return first_bits(address, is_ipv4(address) ? TRUNCATED_IPV4 : TRUNCATED_IPV6);
}

struct address address_of_party(struct address address)
{
    return is_ipv4(address) ? address : first_bits(address, PARTY_IPV6);
}

bool address_is_this_machine(struct address address)
{
    static const uint8_t loopback_4[] = {127, 0, 0, 1};
    static const uint8_t loopback_6[16] = {[15] = 1};
    struct slice bytes = address_bytes(&address);
    return slice_equal(bytes, slice_make(loopback_4, sizeof loopback_4)) ||
           slice_equal(bytes, slice_make(loopback_6, sizeof loopback_6));
}

struct slice address_bytes(const struct address *address)
{
    size_t skipped = is_ipv4(*address) ? IPV4_AT : 0;
    return slice_make(address->bytes + skipped, sizeof address->bytes - skipped);
}

size_t address_format(struct address address, char ret[ADDRESS_TEXT_BYTES])
{
    const char *text = is_ipv4(address)
                           ? inet_ntop(AF_INET, address.bytes + IPV4_AT, ret, ADDRESS_TEXT_BYTES)
                           : inet_ntop(AF_INET6, address.bytes, ret, ADDRESS_TEXT_BYTES);
    ensure(text != NULL);
    return strlen(ret);
}

static bool parse_network(struct slice text, struct address *ret, unsigned *ret_bits)
{
    const uint8_t *slash = memchr(text.data, '/', text.len);
    struct slice before = slash == NULL ? text : slice_make(text.data, (size_t)(slash - text.data));
    struct slice after = slice_skip(text, before.len + (slash != NULL));
    unsigned bits = 0;
    if (!parse_bare(before, ret) || (slash != NULL && (after.len == 0 || after.len > 3))) {
        return false;
    }
    for (size_t i = 0; i < after.len; i++) {
        if (after.data[i] < '0' || after.data[i] > '9') {
            return false;
        }
        bits = bits * 10 + (unsigned)(after.data[i] - '0');
    }
    unsigned bits_max = is_ipv4(*ret) && memchr(before.data, '.', before.len) != NULL ? 32 : 128;
    *ret_bits = slash == NULL ? 128 : 128 - bits_max + bits;
    return bits <= bits_max;
}

bool networks_parse(struct slice text, struct networks *ret, struct error *err)
{
    *ret = (struct networks){0};
    for (text = trim(text); text.len > 0; text = trim(text)) {
        struct slice one = text;
        struct address at;
        unsigned bits;
        for (one.len = 0; one.len < text.len && !is_separator(text.data[one.len]);) {
            one.len++;
        }
        if (!parse_network(one, &at, &bits)) {
            return error_set(err, ERROR_INVALID,
                             "\"%.*s\" is neither an address nor a network such as 10.0.0.0/8",
                             SLICE_ARGS(one));
        }
        if (ret->count == NETWORKS_MAX) {
            return error_set(err, ERROR_INVALID, "there are more than %d networks", NETWORKS_MAX);
        }
        ret->list[ret->count].at = first_bits(at, bits);
        ret->list[ret->count++].bits = bits;
        text = slice_skip(text, one.len);
    }
    return true;
}

bool networks_contain(const struct networks *networks, struct address address)
{
    for (size_t i = 0; i < networks->count; i++) {
        struct address network = first_bits(address, networks->list[i].bits);
        if (memcmp(network.bytes, networks->list[i].at.bytes, sizeof network.bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* The right-most entry of a list; *list becomes what stands before it. */
static struct slice take_last(struct slice *list)
{
    size_t at = list->len;
    while (at > 0 && list->data[at - 1] != ',') {
        at--;
    }
    struct slice last = slice_skip(*list, at);
    list->len = at > 0 ? at - 1 : 0;
    return last;
}

bool address_of_client(struct address peer, struct slice forwarded, const struct networks *trusted,
                       struct address *ret)
{
    *ret = peer;
    if (!networks_contain(trusted, peer)) {
        return true;
    }
    forwarded = trim(forwarded);
    while (forwarded.len > 0) {
        if (!address_parse(take_last(&forwarded), ret)) {
            return false;
        }
        if (!networks_contain(trusted, *ret)) {
            return true;
        }
    }
    /* All are proxies, so that the first of them sent it itself; without the header none says. */
    return memcmp(ret->bytes, peer.bytes, sizeof peer.bytes) != 0;
}
