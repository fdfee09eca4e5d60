/* The messages of partitions: those that others put in, and the outboxes between partitions. */
#include "hub/partition/internal.h"

void partition_send(struct partition *p, uint32_t to, struct slice message)
{
    p->is_dirty = true;
    if (to == p->options.index) {
        struct local_message *local = memory_allocate(sizeof *local + message.len);
        uint8_t *bytes = (uint8_t *)(local + 1);
        memcpy(bytes, message.data, message.len);
        *local = (struct local_message){NULL, slice_make(bytes, message.len)};
        if (p->local_first == NULL) {
            p->local_first = local;
        } else {
            p->local_last->next = local;
        }
        p->local_last = local;
        return;
    }
    uint64_t sequence = p->peers[to].next++;
    struct key key = key_outbox(to, sequence);
    view_put_only(&p->view, &key, message);
    buf_put_u32(&p->outgoing, to);
    buf_put_u64(&p->outgoing, sequence);
    buf_put_u64(&p->outgoing, message.len);
    buf_put_slice(&p->outgoing, message);
}

bool partition_redeliver(struct partition *p, uint32_t to, uint64_t after, struct error *err)
{
    struct key key = key_outbox(to, after + 1);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(p->view.store, NULL);
    for (store_iterator_seek(it, key_slice(&key));
         store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        p->listener.message(p->listener.user, to, sequence, store_iterator_value(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

void partition_delivered(struct partition *p, uint32_t to, uint64_t position)
{
    p->peers[to].delivered = position;
}

void partition_forget_delivered(struct partition *p)
{
    for (uint32_t i = 0; i < p->options.count; i++) {
        struct peer_outbox *peer = &p->peers[i];
        for (; peer->oldest <= peer->delivered && peer->oldest < peer->next; peer->oldest++) {
            struct key key = key_outbox(i, peer->oldest);
            view_delete_only(&p->view, &key);
        }
    }
}

void partition_write_event(struct buf *out, uint32_t collector, struct slice event)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 4);
    msgpack_pack_int(&k, MESSAGE_EVENT);
    msgpack_pack_uint32(&k, collector);
    value_pack_bin(&k, event);
    msgpack_pack_array(&k, 0);
}

void partition_write_define(struct buf *out, struct slice catalog)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 2);
    msgpack_pack_int(&k, MESSAGE_DEFINE);
    value_pack_bin(&k, catalog);
}

void partition_write_mark(struct buf *out)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 1);
    msgpack_pack_int(&k, MESSAGE_MARK);
}

void partition_write_edge_ack(struct buf *out, uint32_t collector, uint64_t sequence)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 3);
    msgpack_pack_int(&k, MESSAGE_EDGE_ACK);
    msgpack_pack_uint32(&k, collector);
    msgpack_pack_uint64(&k, sequence);
}

void partition_write_interest(struct buf *out, struct profile_id profile, uint32_t collector)
{
    msgpack_packer k;
    value_packer_init(&k, out);
    msgpack_pack_array(&k, 3);
    msgpack_pack_int(&k, MESSAGE_INTEREST);
    value_pack_bin(&k, profile_id_slice(&profile));
    msgpack_pack_uint32(&k, collector);
}
