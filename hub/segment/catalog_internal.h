/* The compiled form that catalog_compile.c makes and catalog.c evaluates. */
#ifndef TRIBUTARY_HUB_SEGMENT_CATALOG_INTERNAL_H
#define TRIBUTARY_HUB_SEGMENT_CATALOG_INTERNAL_H

#include "hub/segment/catalog.h"

enum { WHERE_MAX = 16, NODES_MAX = 4096, PURCHASES_MAX = 16 };

/* A comparison of a property, or what one element of an array must be (where_count > 0). */
struct where {
    struct slice property;
    struct comparison comparison;
    size_t where_count;
    struct where *where;
};

/* Events of one kind, counted within a window. */
struct condition {
    uint64_t id; /* hash of its canonical form: stays the same as long as its meaning does */
    bool by_name;
    bool from_server; /* events of clients do not count */
    struct slice name;
    enum event_type type;
    size_t where_count;
    struct where where[WHERE_MAX];
    int64_t within_ms; /* 0: ever */
    int64_t keep;      /* times worth remembering */
    uint64_t version;  /* profiles with an older catalog version lack its state */
};

enum node_kind {
    NODE_ALL,
    NODE_ANY,
    NODE_NOT,
    NODE_TRAIT,
    NODE_COUNT,
    NODE_KNOWN,
    NODE_IDENTIFIER,
    NODE_CLAIM,
    NODE_CONSENT,
};

struct node {
    enum node_kind kind;
    struct slice name; /* of the trait, identifier type or consent category */
    struct comparison comparison;
    size_t condition;
    bool wanted; /* of known, identifier and claim */
    struct node *child;
    struct node *next;
};

struct segment {
    uint32_t id;
    struct slice key;
    struct slice name; /* for people; may be empty */
    uint64_t version;
    enum audience edge;
    uint64_t edge_version;
    const msgpack_object *where;
    struct node *root;
    struct catalog_touch depends;
    bool is_open; /* being compiled: finding it again is a cycle */
};

struct business_key {
    struct slice event;
    struct slice property;
};

struct edge_trait {
    struct slice name;
    enum audience audience;
    uint64_t version;
};

struct catalog {
    struct buf bytes;
    msgpack_zone zone;
    struct arena arena;
    uint64_t version;
    struct identity_rules rules;
    size_t edge_trait_count;
    struct edge_trait *edge_traits; /* by name */
    uint64_t edge_traits_version;
    size_t scope_count;
    struct catalog_scope *scopes; /* by collector */
    uint64_t scopes_version;
    bool is_everybody_wanted; /* by some scope */
    size_t wanted_count;      /* segments that some scope names, each once */
    uint32_t *wanted;
    size_t purchase_count;
    struct slice purchases[PURCHASES_MAX];  /* names of track events */
    const msgpack_object *purchase_sources; /* clients whose purchases count too, or NULL */
    uint64_t purchases_version;
    size_t business_key_count;
    struct business_key *business_keys;
    uint64_t business_keys_id;
    size_t segment_count;
    struct segment *segments;
    size_t condition_count;
    size_t condition_capacity;
    struct condition *conditions;
    size_t node_count;
};

/* Compile all segments of the catalog, whose definitions have been read. */
MUST_CHECK bool catalog_compile(struct catalog *catalog, struct catalog_error *where,
                                struct error *err);

/* catalog_edge.c: the traits that are defined, and to whom they are shown. */
MUST_CHECK bool catalog_read_edge_traits(struct catalog *catalog, const msgpack_object *root,
                                         struct error *err);

/* catalog_scopes.c: the scopes of collectors and the names of purchases, after the segments. */
MUST_CHECK bool catalog_read_scopes(struct catalog *catalog, const msgpack_object *scopes,
                                    struct catalog_error *where, struct error *err);
MUST_CHECK bool catalog_read_business_keys(struct catalog *catalog, const msgpack_object *root,
                                           struct catalog_error *where, struct error *err);
MUST_CHECK bool catalog_read_purchases(struct catalog *catalog, const msgpack_object *root,
                                       struct catalog_error *where, struct error *err);

#endif
