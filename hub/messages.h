/* Takes the messages of collectors off the link: finds out whose they are, decrypts them, and
 * passes them to the intake or the edges, whose answers it encrypts for that one collector.
 * Messages of strangers get an empty answer, are counted and logged.
 */
#ifndef TRIBUTARY_HUB_MESSAGES_H
#define TRIBUTARY_HUB_MESSAGES_H

#include "hub/edges.h"
#include "hub/intake.h"
#include "shared/link.h"

struct messages;

/* All arguments are borrowed. */
struct messages *messages_new(struct collectors *collectors, struct intake *intake,
                              struct edges *edges);
/* Every message must have been answered. */
void messages_free(struct messages **messages);

/* A link_handler; `user` is the struct messages. */
void messages_take(void *user, struct slice request, struct link_reply *reply);

/* Messages refused because nobody enrolled could have sent them. */
uint64_t messages_strangers(const struct messages *messages);

#endif
