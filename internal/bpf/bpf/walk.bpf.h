/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * The programs of the iterators: what is there.
 */

#ifndef VIEWTCP_WALK_H
#define VIEWTCP_WALK_H

#include "fill.bpf.h"

/* Changes whenever a walk would show something else: each counter moves it by
 * its own odd step. */
static __always_inline __u64 signature(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	__u64 s;

	s = tp->segs_in * 0x9e3779b97f4a7c15ULL;
	s += tp->segs_out * 0xc2b2ae3d27d4eb4fULL;
	s += tp->write_seq * 0x165667b19e3779f9ULL;
	s += tp->copied_seq * 0xd6e8feb86659fd93ULL;
	s += tp->rcv_nxt * 0xff51afd7ed558ccdULL;
	s += inode_of(sk) * 0xa0761d6478bd642fULL;
	s += sk->__sk_common.skc_state * 0xe7037ed1a0b428dbULL;
	s += sk->sk_ack_backlog * 0x8ebc6af09c88c6e3ULL;
	s += sk->sk_max_ack_backlog * 0x589965cc75374cc3ULL;
	return s ? s : 1;
}

/* Writes a socket to a walk's output; true asks the kernel to come again with
 * room for it. */
static __always_inline bool show(struct seq_file *seq, struct tcp_sock *tp, struct conn *c)
{
	struct sock *sk = (struct sock *)tp;
	__u8 state = sk->__sk_common.skc_state;
	struct record r;
	__u64 sign = 0;

	if (tracking)
		sign = signature(tp);
	if (state == TCP_LISTEN) {
		fill_head(&r.h, tp, c, KIND_LISTENER, state, sizeof(r.h));
		r.h.time = bpf_ktime_get_boot_ns();
		if (bpf_seq_write(seq, &r.h, sizeof(r.h)))
			return true;
	} else {
		fill_head(&r.h, tp, c, KIND_SEEN, state, sizeof(r));
		r.h.time = bpf_ktime_get_boot_ns();
		fill_numbers(&r, tp, c);
		if (bpf_seq_write(seq, &r, sizeof(r)))
			return true;
	}
	if (c) {
		c->signature = sign;
		c->pass = pass;
	}
	return false;
}

/* Shows a TIME_WAIT or request socket, which have no tcp_sock. */
static __always_inline bool show_mini(struct seq_file *seq, struct sock_common *sc)
{
	struct tcp_timewait_sock *tw;
	struct tcp_request_sock *req;
	struct head h;

	tw = bpf_skc_to_tcp_timewait_sock(sc);
	if (tw) {
		/* An orphaned FIN_WAIT2 is kept in the same small form. */
		fill_common(&h, sc, KIND_MINI, tw->tw_sk.tw_substate, sizeof(h));
		fill_unowned(&h);
	} else {
		req = bpf_skc_to_tcp_request_sock(sc);
		if (!req)
			return false;
		fill_common(&h, sc, KIND_MINI, TCP_NEW_SYN_RECV, sizeof(h));
		fill_unowned(&h);
		h.role = ROLE_ACCEPTED;
		/* Of the monotonic clock, in microseconds. */
		if (req->snt_synack)
			h.opened = req->snt_synack * 1000 + bpf_ktime_get_boot_ns() -
				   bpf_ktime_get_ns();
	}
	h.uid = 0;
	h.inode = 0;
	h.time = bpf_ktime_get_boot_ns();
	return bpf_seq_write(seq, &h, sizeof(h)) != 0;
}

/* Walks the sockets of the namespace that the iterator was opened in. */
SEC("iter/tcp")
int walk_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sc = ctx->sk_common;
	struct tcp_sock *tp;
	struct conn *c;

	if (!sc)
		return 0;
	tp = bpf_skc_to_tcp_sock(sc);
	if (!tp)
		return walk_minis ? show_mini(ctx->meta->seq, sc) : 0;
	walked++;
	c = bpf_sk_storage_get(&conns, tp, 0, tracking ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (c && walk_mode == WALK_DELTA && c->signature == signature(tp))
		return 0;
	if (walk_mode == WALK_FULL && (!c || c->attr == ATTR_UNKNOWN)) {
		__u32 inode = inode_of((struct sock *)tp);
		struct owner *o = inode ? bpf_map_lookup_elem(&inode_owners, &inode) : 0;

		if (o) {
			c = bpf_sk_storage_get(&conns, tp, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
			if (c)
				set_owner(c, o, ATTR_SCAN);
		}
	}
	if (c && c->role == ROLE_UNKNOWN &&
	    ((struct sock *)tp)->__sk_common.skc_state == TCP_LISTEN)
		c->role = ROLE_LISTENER;
	return show(ctx->meta->seq, tp, c);
}

static __always_inline void seed(struct sock *sk, struct task_struct *t)
{
	struct owner o;
	struct conn *c;

	if (sk->sk_protocol == IPPROTO_MPTCP) {
		__u32 inode = inode_of(sk);

		owner_of(&o, t);
		bpf_map_update_elem(&inode_owners, &inode, &o, BPF_NOEXIST);
		return;
	}
	c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c || c->attr != ATTR_UNKNOWN)
		return;
	if (sk->__sk_common.skc_state == TCP_LISTEN)
		c->role = ROLE_LISTENER;
	owner_of(&o, t);
	set_owner(c, &o, ATTR_SCAN);
}

/* Walks the open files of all processes, in whatever network namespace. */
SEC("iter/task_file")
int walk_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *t = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct tcp_sock *tp;
	struct sock *sk;
	struct conn *c;
	__u32 netns, mode = files_mode;
	__u8 one = 1;
	__u16 family;

	if (!t || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_MPTCP)
		return 0;
	netns = netns_of(&sk->__sk_common);
	if (only_netns && netns != only_netns)
		return 0;
	if (mode == FILES_SEED) {
		if (netns != home_netns)
			bpf_map_update_elem(&netns_seen, &netns, &one, BPF_NOEXIST);
		seed(sk, t);
		return 0;
	}
	if (mode == FILES_FOREIGN && netns == home_netns)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c)
		return 0;
	if (mode == FILES_FOREIGN ? c->signature == signature(tp) : c->pass == pass)
		return 0;
	return show(ctx->meta->seq, tp, c);
}

#endif
