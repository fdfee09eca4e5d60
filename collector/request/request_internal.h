/* What the files of the request share. */
#ifndef TRIBUTARY_COLLECTOR_REQUEST_INTERNAL_H
#define TRIBUTARY_COLLECTOR_REQUEST_INTERNAL_H

#include "collector/request/request.h"

static inline struct refusal refusal_make(const char *code, const char *message, const char *field)
{
    return (struct refusal){code, message, field};
}

/* request_merge.c: put the batch's context and integrations into each of its events. */
void request_merge_outer(struct request *request);

#endif
