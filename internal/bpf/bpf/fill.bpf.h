/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * How a socket becomes a record.
 */

#ifndef VIEWTCP_FILL_H
#define VIEWTCP_FILL_H

#include "owner.bpf.h"
#include <bpf/bpf_endian.h>

static __always_inline void fill_address(__be32 *to, __be32 v4)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = v4;
}

static __always_inline void fill_address6(__be32 *to, struct in6_addr *from)
{
	to[0] = from->in6_u.u6_addr32[0];
	to[1] = from->in6_u.u6_addr32[1];
	to[2] = from->in6_u.u6_addr32[2];
	to[3] = from->in6_u.u6_addr32[3];
}

/* Fills what every kind of socket has. */
static __always_inline void fill_common(struct head *h, struct sock_common *c, __u8 kind,
					__u8 state, __u16 size)
{
	h->size = size;
	h->kind = kind;
	h->state = state;
	h->old = 0;
	h->reset = 0;
	h->flags = 0;
	h->chrono = 0;
	h->cookie = bpf_get_socket_cookie(c);
	h->netns = netns_of(c);
	h->err = 0;
	h->a = 0;
	h->b = 0;
	h->family = c->skc_family;
	h->lport = c->skc_num;
	h->rport = bpf_ntohs(c->skc_dport);
	if (h->family == AF_INET6 && bpf_core_field_exists(c->skc_v6_daddr)) {
		fill_address6(h->laddr, &c->skc_v6_rcv_saddr);
		fill_address6(h->raddr, &c->skc_v6_daddr);
	} else {
		fill_address(h->laddr, c->skc_rcv_saddr);
		fill_address(h->raddr, c->skc_daddr);
	}
}

static __always_inline void fill_unowned(struct head *h)
{
	h->role = ROLE_UNKNOWN;
	h->attr = ATTR_UNKNOWN;
	h->opened = 0;
	h->handshake = 0;
	h->pid = 0;
	h->start = 0;
	h->cgroup = 0;
	__builtin_memset(h->comm, 0, sizeof(h->comm));
}

static __always_inline void fill_owner(struct head *h, struct conn *c)
{
	__u32 attr = c->attr;

	if (attr == ATTR_BUSY)
		attr = ATTR_UNKNOWN;
	h->attr = attr;
	if (attr == ATTR_UNKNOWN) {
		h->pid = 0;
		h->start = 0;
		h->cgroup = 0;
		__builtin_memset(h->comm, 0, sizeof(h->comm));
		return;
	}
	h->pid = c->pid;
	h->start = c->start;
	h->cgroup = c->cgroup;
	__builtin_memcpy(h->comm, c->comm, sizeof(h->comm));
}

/* Fills the head for a socket that has a tcp_sock. */
static __always_inline void fill_head(struct head *h, struct tcp_sock *tp, struct conn *c,
				      __u8 kind, __u8 state, __u16 size)
{
	struct sock *sk = (struct sock *)tp;
	unsigned long sock_flags;

	fill_common(h, &sk->__sk_common, kind, state, size);
	/* A closed socket has given its port back; what was sent from stays. */
	if (!h->lport)
		h->lport = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	if (c) {
		fill_owner(h, c);
		h->role = c->role;
		h->opened = c->opened;
		h->handshake = c->handshake;
		h->reset = c->reset;
		if (cloned(c, state)) {
			h->role = ROLE_ACCEPTED;
			h->opened = 0;
			if (h->attr)
				h->attr = ATTR_INHERITED;
		}
	} else {
		fill_unowned(h);
	}
	if (!h->cgroup)
		h->cgroup = cgroup_of(sk);
	h->uid = sk->sk_uid.val;
	h->inode = inode_of(sk);
	h->err = sk->sk_err;
	sock_flags = sk->__sk_common.skc_flags;
	h->flags = FLAG_UID;
	if (sock_flags & (1 << SOCK_DONE))
		h->flags |= FLAG_FIN_RECEIVED;
	if (sock_flags & (1 << SOCK_DEAD))
		h->flags |= FLAG_DEAD;
	/* A bit field on older kernels, where only this macro reads it. */
	if (BPF_CORE_READ_BITFIELD(sk, sk_shutdown) & RCV_SHUTDOWN)
		h->flags |= FLAG_RCV_SHUTDOWN;
	if (tp->linger2 < 0)
		h->flags |= FLAG_NO_LINGER;
	if (state == TCP_LISTEN) {
		h->a = sk->sk_ack_backlog;
		h->b = sk->sk_max_ack_backlog;
	}
}

static __always_inline void fill_numbers(struct record *r, struct tcp_sock *tp, struct conn *c)
{
	struct inet_connection_sock *icsk = &tp->inet_conn;
	struct numbers *n = &r->n;

	n->bytes_sent = tp->bytes_sent;
	n->bytes_retrans = tp->bytes_retrans;
	n->bytes_received = tp->bytes_received;
	n->pacing_rate = icsk->icsk_inet.sk.sk_pacing_rate;
	n->segs_out = tp->segs_out;
	n->segs_in = tp->segs_in;
	n->write_seq = tp->write_seq;
	n->snd_una = tp->snd_una;
	n->snd_nxt = tp->snd_nxt;
	n->rcv_nxt = tp->rcv_nxt;
	n->copied_seq = tp->copied_seq;
	n->packets_out = tp->packets_out;
	n->lost_out = tp->lost_out;
	n->reordering = tp->reordering;
	n->total_retrans = tp->total_retrans;
	n->dsack_dups = tp->dsack_dups;
	n->rcv_ooopack = tp->rcv_ooopack;
	n->delivered_ce = tp->delivered_ce;
	n->srtt_us = tp->srtt_us;
	n->mdev_us = tp->mdev_us;
	n->min_rtt_us = tp->rtt_min.s[0].v;
	n->rto = icsk->icsk_rto;
	n->mss_cache = tp->mss_cache;
	n->pmtu = icsk->icsk_pmtu_cookie;
	n->snd_cwnd = tp->snd_cwnd;
	n->snd_ssthresh = tp->snd_ssthresh;
	n->snd_wnd = tp->snd_wnd;
	n->rcv_wnd = tp->rcv_wnd;
	n->rate_delivered = tp->rate_delivered;
	n->rate_interval_us = tp->rate_interval_us;
	n->chrono_stat[0] = tp->chrono_stat[0];
	n->chrono_stat[1] = tp->chrono_stat[1];
	n->chrono_stat[2] = tp->chrono_stat[2];
	n->chrono_run = (__u32)bpf_jiffies64() - tp->chrono_start;
	r->h.chrono = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	if (BPF_CORE_READ_BITFIELD(tp, rate_app_limited))
		r->h.flags |= FLAG_APP_LIMITED;
	copy_name(n->cc, icsk->icsk_ca_ops->name);
	n->recoveries = c ? c->recoveries : 0;
	n->timeouts = c ? c->timeouts : 0;
	n->ca_state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
	n->unused[0] = n->unused[1] = n->unused[2] = 0;
}

#endif
