/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * How records reach the ring, and what is counted when they do not.
 */

#ifndef VIEWTCP_RING_H
#define VIEWTCP_RING_H

#include "fill.bpf.h"

static __always_inline struct drops *drops_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dropped, &zero);
}

/* Atomic although each CPU has its own: a softirq may come in between. */
static __always_inline void drop_event(void)
{
	struct drops *d = drops_here();

	if (d)
		__sync_fetch_and_add(&d->events, 1);
}

static __always_inline void drop_close(struct tcp_sock *tp)
{
	struct drops *d = drops_here();
	__u64 sent, retrans, received;
	struct sock *sk = (struct sock *)tp;

	if (!d)
		return;
	sent = tp->bytes_sent;
	retrans = tp->bytes_retrans;
	received = tp->bytes_received;
	if (received && sk->__sk_common.skc_flags & (1 << SOCK_DONE))
		received--;
	__sync_fetch_and_add(&d->closes, 1);
	if (sent > retrans)
		__sync_fetch_and_add(&d->bytes_sent, sent - retrans);
	__sync_fetch_and_add(&d->bytes_received, received);
}

/* Waking the reader costs more than all the rest, so it is left to the reader's
 * own timer unless the ring fills. A reader that found nothing for a while has
 * set its timer off, and is woken once. */
static __always_inline __u64 wake_flags(void)
{
	if (reader_sleeps) {
		reader_sleeps = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_at ? BPF_RB_FORCE_WAKEUP
								      : BPF_RB_NO_WAKEUP;
}

/* Reports a socket without its numbers. */
static __always_inline void report(struct tcp_sock *tp, struct conn *c, __u8 kind, __u8 state,
				   __u64 now, __u8 flags, __u32 a)
{
	struct head *h = bpf_ringbuf_reserve(&ring, sizeof(*h), 0);

	if (!h) {
		drop_event();
		return;
	}
	fill_head(h, tp, c, kind, state, sizeof(*h));
	h->time = now;
	h->flags |= flags;
	if (a)
		h->a = a;
	bpf_ringbuf_submit(h, wake_flags());
}

static __always_inline void report_closed(struct tcp_sock *tp, struct conn *c, __u8 old, __u64 now)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		drop_close(tp);
		return;
	}
	fill_head(&r->h, tp, c, KIND_CLOSED, TCP_CLOSE, sizeof(*r));
	r->h.time = now;
	r->h.old = old;
	fill_numbers(r, tp, c);
	bpf_ringbuf_submit(r, wake_flags());
}

#endif
