#include "shared/dictionary.h"

/* The file becomes part of the program as it is. */
__asm__(".section .rodata\n"
        ".global tributary_dictionary\n"
        ".global tributary_dictionary_end\n"
        "tributary_dictionary:\n"
        ".incbin \"shared/dictionary.bin\"\n"
        "tributary_dictionary_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t tributary_dictionary[];
extern const uint8_t tributary_dictionary_end[];

struct slice dictionary_bytes(void)
{
    return slice_make(tributary_dictionary,
                      (size_t)(tributary_dictionary_end - tributary_dictionary));
}
