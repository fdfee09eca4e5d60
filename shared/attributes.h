/* Compiler attributes that the headers of Tributary use. */
#ifndef TRIBUTARY_SHARED_ATTRIBUTES_H
#define TRIBUTARY_SHARED_ATTRIBUTES_H

/* The result says whether the call worked; ignoring it is a bug. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* The arguments follow printf's rules; `fmt` and `first` count from 1. */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#endif
