#include "shared/json_tape.h"

#include <simdjson.h>

struct json_tape_reader {
    simdjson::dom::parser parser;
};

struct json_tape_reader *json_tape_reader_new(void)
{
    return new json_tape_reader;
}

void json_tape_reader_free(struct json_tape_reader **reader)
{
    delete *reader;
    *reader = nullptr;
}

/* simdjson reads some bytes behind the text and makes nothing of them. Where they are in the same
 * page as its last byte they can be read, otherwise it is to copy the text. */
static bool needs_copy(const char *text, size_t len)
{
    constexpr size_t page = 4096;
    size_t last = (reinterpret_cast<uintptr_t>(text) + len - 1) % page;
    return last + simdjson::SIMDJSON_PADDING >= page;
}

const uint64_t *json_tape_read(struct json_tape_reader *reader, const void *text, size_t len,
                               const uint8_t **ret_texts)
{
    const char *begin = static_cast<const char *>(text);
    simdjson::dom::element root;
    if (len == 0 ||
        reader->parser.parse(begin, len, needs_copy(begin, len)).get(root) != simdjson::SUCCESS) {
        return nullptr;
    }
    *ret_texts = reader->parser.doc.string_buf.get();
    return reader->parser.doc.tape.get();
}
