/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * The programs that hang in tracepoints: what begins, happens and ends.
 */

#ifndef VIEWTCP_EVENTS_H
#define VIEWTCP_EVENTS_H

#include "ring.bpf.h"
#include <bpf/bpf_tracing.h>

static __always_inline void established(struct tcp_sock *tp, struct conn *c, int old, __u64 now)
{
	if (!c)
		return;
	if (old == TCP_SYN_RECV && c->role != ROLE_CONNECTED) {
		/* The one sample of the round trip so far is that of the SYN-ACK;
		 * with SYN cookies or a SYN-ACK sent again there may be none. */
		__u32 rtt = tp->srtt_us >> 3;

		adopt(c);
		c->handshake = rtt;
		c->opened = now - rtt * 1000ULL;
	} else if (c->opened) {
		c->handshake = (now - c->opened) / 1000;
	}
}

/*
 * The life of every socket passes here, the first and the last step included.
 *
 * The kernel leaves a program out when it would interrupt itself: a softirq that
 * changes a state while a system call does the same on this CPU. One in some
 * 100,000 changes would be lost, so the program hangs there twice. An interrupt
 * finds at most one of the two at work, and who comes second sees that the state
 * was told.
 */
static __always_inline void state_changed(struct sock *sk, int old, int new, bool first)
{
	struct tcp_sock *tp;
	struct conn *c;
	__u64 now;

	if (new != TCP_SYN_SENT &&new != TCP_LISTEN &&new != TCP_ESTABLISHED &&new != TCP_CLOSE)
		return;
	if (old == new || sk->sk_protocol != IPPROTO_TCP || !wanted(sk))
		return;
	c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (c ? c->told == new : !first)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (c)
		c->told = new;
	now = bpf_ktime_get_boot_ns();
	switch (new) {
	case TCP_SYN_SENT:
		/* No local port yet, so nothing to report; but it is the process
		 * itself that connects. */
		if (c) {
			begin(c, ROLE_CONNECTED, now);
			set_current(c);
		}
		break;
	case TCP_LISTEN:
		if (c) {
			begin(c, ROLE_LISTENER, now);
			set_current(c);
		}
		if (sk->__sk_common.skc_num)
			report(tp, c, KIND_LISTENER, new, now, 0, 0);
		break;
	case TCP_ESTABLISHED:
		established(tp, c, old, now);
		report(tp, c, KIND_ESTABLISHED, new, now, 0, 0);
		break;
	case TCP_CLOSE:
		if (old == TCP_LISTEN) {
			report(tp, c, KIND_UNLISTENED, new, now, 0, 0);
			break;
		}
		if (c && cloned(c, old))
			adopt(c);
		report_closed(tp, c, old, now);
		break;
	}
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int new)
{
	state_changed(sk, old, new, true);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state_again, struct sock *sk, int old, int new)
{
	state_changed(sk, old, new, false);
	return 0;
}

/*
 * The first process that reads or writes is the one that the connection belongs
 * to, whoever listened. In a softirq the current task is a bystander; there the
 * socket is locked, but not owned.
 */
static __always_inline void first_use(struct sock *sk)
{
	struct conn *c;

	/* Read first, so that a busy host does not write to one line from all CPUs. */
	if (!moved)
		moved = 1;
	c = bpf_sk_storage_get(&conns, sk, 0, 0);
	if (c && c->attr == ATTR_EXACT)
		return;
	if (!sk->sk_lock.owned || !wanted(sk))
		return;
	if (!c)
		c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (c && !cloned(c, sk->__sk_common.skc_state))
		set_current(c);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(on_receive, struct sock *sk)
{
	first_use(sk);
	return 0;
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(on_send, struct sock *sk)
{
	first_use(sk);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(on_retransmit, struct sock *sk)
{
	struct tcp_sock *tp;
	struct conn *c;
	__u64 now;

	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !wanted(sk))
		return 0;
	now = bpf_ktime_get_boot_ns();
	c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (c) {
		if (c->retransmit && now - c->retransmit < RETRANSMIT_INTERVAL_NS)
			return 0;
		c->retransmit = now;
	}
	report(tp, c, KIND_RETRANSMIT, sk->__sk_common.skc_state, now, 0, tp->total_retrans);
	return 0;
}

/* Counts what the sender took for loss: fast recoveries, and timeouts. */
SEC("tp_btf/tcp_cong_state_set")
int BPF_PROG(on_congestion, struct sock *sk, const __u8 ca_state)
{
	struct conn *c;

	if (ca_state != TCP_CA_Recovery && ca_state != TCP_CA_Loss)
		return 0;
	c = bpf_sk_storage_get(&conns, sk, 0, 0);
	if (!c)
		return 0;
	if (ca_state == TCP_CA_Loss) {
		if (c->timeouts < 0xffff)
			c->timeouts++;
	} else if (c->recoveries < 0xffff) {
		c->recoveries++;
	}
	return 0;
}

/* Reports the first RST of each direction. */
static __always_inline void reset(struct sock *sk, __u32 side)
{
	__u8 state = sk->__sk_common.skc_state;
	struct tcp_sock *tp;
	struct conn *c;
	__u64 now;

	/* A listener answers strangers; mini sockets have nothing to report. */
	if (state == TCP_LISTEN || state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !wanted(sk))
		return;
	c = bpf_sk_storage_get(&conns, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (c && __sync_fetch_and_or(&c->reset, side) & side)
		return;
	/*
	 * Data for a socket that nobody will read any more takes the way of a
	 * received RST, and is answered by one: which it was shows after the
	 * close.
	 */
	if (side == RESET_RECEIVED && (state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2) &&
	    BPF_CORE_READ_BITFIELD(sk, sk_shutdown) & RCV_SHUTDOWN)
		return;
	now = bpf_ktime_get_boot_ns();
	report(tp, c, KIND_RESET, state, now, state == TCP_CLOSE ? FLAG_AFTER_CLOSE : 0, side);
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(on_send_reset, struct sock *sk)
{
	/* Most RSTs answer packets that no socket wanted. */
	if (sk)
		reset(sk, RESET_SENT);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(on_receive_reset, struct sock *sk)
{
	reset(sk, RESET_RECEIVED);
	return 0;
}

#endif
