/* Addresses and lists of them, as anybody may write them into a header. What is read can be
 * written and read again; who is not trusted is believed nothing. */
#include "shared/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(struct address address)
{
    char text[ADDRESS_TEXT_BYTES];
    struct address again;
    size_t len = address_format(address, text);
    ensure(address_parse(slice_make(text, len), &again));
    ensure(memcmp(again.bytes, address.bytes, sizeof again.bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct networks none = {0};
    struct networks private;
    struct networks read;
    struct address address;
    struct address peer;
    struct error err;
    ensure(networks_parse(slice_text("10.0.0.0/8"), &private, &err));
    ensure(address_parse(slice_text("10.1.2.3"), &peer));
    if (address_parse(text, &address)) {
        write_and_read(address);
        write_and_read(address_truncate(address));
    }
    ensure(address_of_client(peer, text, &none, &address));
    ensure(memcmp(address.bytes, peer.bytes, sizeof peer.bytes) == 0);
    if (address_of_client(peer, text, &private, &address)) {
        write_and_read(address);
    }
    if (networks_parse(text, &read, &err)) {
        for (size_t i = 0; i < read.count; i++) {
            ensure(networks_contain(&read, read.list[i].at));
        }
    } else {
        ensure(err.kind == ERROR_INVALID);
    }
    return 0;
}
