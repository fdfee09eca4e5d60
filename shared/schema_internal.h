/* The program that schema_compile.c writes and schema.c runs. */
#ifndef TRIBUTARY_SHARED_SCHEMA_INTERNAL_H
#define TRIBUTARY_SHARED_SCHEMA_INTERNAL_H

#include "shared/arena.h"
#include "shared/cursor.h"
#include "shared/schema.h"

/* A place in `nodes`, or one of the two schemas that need none. */
enum { NODE_ANYTHING = UINT16_MAX, NODE_NOTHING = UINT16_MAX - 1 };

enum type_bit {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_NUMBER = 4,
    TYPE_INTEGER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
};

struct property {
    struct slice name;
    uint32_t node;
    bool is_required;
};

struct node {
    unsigned types;
    bool has_minimum;
    bool has_maximum;
    bool has_enum;
    bool is_const; /* the enum has one value, and is called const */
    bool is_date_time;
    double minimum;
    double maximum;
    uint32_t length_min;
    uint32_t length_max;
    uint32_t items;
    uint32_t additional;
    uint32_t property_count;
    uint32_t required_count;
    uint32_t literal_count;
    const struct property *properties; /* by name; those that are only required take anything */
    const struct token *literals;
};

struct schema {
    struct arena arena; /* of names and literals */
    size_t count;
    size_t capacity;
    struct node *nodes;
};

#endif
