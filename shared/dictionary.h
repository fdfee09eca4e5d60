/* The zstd dictionary that blocks and timeline records share (stored: never change; a better one
 * gets a number of its own beside it). Trained by tests/bench/train-dictionary.mjs.
 */
#ifndef TRIBUTARY_SHARED_DICTIONARY_H
#define TRIBUTARY_SHARED_DICTIONARY_H

#include "shared/slice.h"

struct slice dictionary_bytes(void);

#endif
