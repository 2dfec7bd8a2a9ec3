// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

/*
 * The collector of ViewTCP's first tier. Tracepoints report what begins and
 * ends, iterators walk what is there, and what is known of a socket beyond the
 * kernel's own numbers (its process, when it was opened) is kept in the socket
 * itself: it cannot outgrow a map, and goes when the socket goes.
 *
 * Only collecting happens here; what the numbers mean is decided in record.go.
 */

#include "record.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Nothing refers to it: it puts the types of record.h into the object, for the
 * test that holds record.go against them. */
const struct {
	struct record record;
	enum kind kind;
	enum role role;
	enum attribution attribution;
	enum reset reset;
	enum flag flag;
} *record_types __attribute__((unused));

/* Set before loading. */
const volatile __u32 pid_ns;	 /* inode of the pid namespace to name processes in; 0: the first */
const volatile __u32 home_netns; /* inode of the namespace that the tcp iterator walks each second */
const volatile __u32 only_netns; /* report this namespace alone; 0: all */
const volatile __u64 wake_at;	 /* bytes in the ring that wake the reader at once */
const volatile bool tracking;	 /* walks follow each other: keep signatures */

enum walk {
	WALK_FULL, /* every socket */
	WALK_DELTA, /* sockets that changed */
};

enum files {
	FILES_SEED,    /* note the owner of every socket */
	FILES_FOREIGN, /* report sockets outside home_netns that changed */
	FILES_REST,    /* report sockets that this pass has not shown */
};

/* Set before each walk. */
volatile __u32 walk_mode;
/* Whether walks show mini-sockets, and how many full sockets one passed. */
volatile __u32 walk_minis;
volatile __u32 walked;
/* Set by a reader that waits for the next event without a timer. */
volatile __u32 reader_sleeps;
volatile __u32 files_mode;
volatile __u32 pass;

/* A retransmission is told at most this often for each socket. */
#define RETRANSMIT_INTERVAL_NS 100000000ULL

/* MAX_PID_NS_LEVEL of include/linux/pid_namespace.h */
#define MAX_PID_NS_LEVEL 32

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drops);
} dropped SEC(".maps");

/* MPTCP sockets found in the files of processes: the LISTEN and other subflows
 * below them have no file of their own, only the same inode number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct owner);
} inode_owners SEC(".maps");

/* Namespaces other than home_netns that the files of processes lead to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} netns_seen SEC(".maps");

static __always_inline __u32 netns_of(struct sock_common *c)
{
	return c->skc_net.net->ns.inum;
}

static __always_inline bool wanted(struct sock *sk)
{
	return !only_netns || netns_of(&sk->__sk_common) == only_netns;
}

static __always_inline __u32 inode_of(struct sock *sk)
{
	struct socket_alloc *a;

	if (bpf_core_field_exists(sk->sk_ino))
		return sk->sk_ino;
	a = (struct socket_alloc *)sk->sk_socket;
	if (!a)
		return 0;
	return BPF_CORE_READ(a, vfs_inode.i_ino);
}

static __always_inline __u64 cgroup_of(struct sock *sk)
{
	/* Before Linux 5.15 the pointer shared its word with other things. */
	if (!bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return 0;
	return sk->sk_cgrp_data.cgroup->kn->id;
}

/* The number of a process in the reader's pid namespace; 0: not visible there. */
static __always_inline __u32 visible_pid(struct task_struct *t)
{
	struct pid *p;
	unsigned int level;

	if (!pid_ns)
		return t->tgid;
	p = t->group_leader->thread_pid;
	if (!p)
		return 0;
	level = p->level;
	for (unsigned int i = 0; i < MAX_PID_NS_LEVEL; i++) {
		struct pid_namespace *ns = 0;
		__u32 inum = 0, nr = 0;
		void *u;

		if (i > level)
			break;
		u = (void *)p + bpf_core_field_offset(struct pid, numbers) +
		    i * bpf_core_type_size(struct upid);
		bpf_probe_read_kernel(&ns, sizeof(ns), u + bpf_core_field_offset(struct upid, ns));
		if (!ns)
			break;
		bpf_core_read(&inum, sizeof(inum), &ns->ns.inum);
		if (inum != pid_ns)
			continue;
		bpf_probe_read_kernel(&nr, sizeof(nr), u + bpf_core_field_offset(struct upid, nr));
		return nr;
	}
	return 0;
}

/* Copies the 16 bytes of a task's or an algorithm's name, two words at a time. */
static __always_inline void copy_name(char *to, const char *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline void owner_of(struct owner *o, struct task_struct *t)
{
	struct task_struct *leader = t->group_leader;

	o->pad = 0;
	o->pid = visible_pid(t);
	o->start = leader->start_boottime;
	o->cgroup = t->cgroups->dfl_cgrp->kn->id;
	copy_name(o->comm, leader->comm);
}

static __always_inline void store_owner(struct conn *c, const struct owner *o)
{
	c->pid = o->pid;
	c->start = o->start;
	c->cgroup = o->cgroup;
	__builtin_memcpy(c->comm, o->comm, sizeof(c->comm));
	/* Who is shown has changed, though no counter did. */
	c->signature = 0;
}

/*
 * Replaces the owner. The scan of files and the socket's own process may come
 * at the same time, so a change is claimed first; who comes second lets it be.
 */
static __always_inline void set_owner(struct conn *c, const struct owner *o, __u32 attr)
{
	__u32 old = c->attr;

	if (old == ATTR_BUSY || __sync_val_compare_and_swap(&c->attr, old, ATTR_BUSY) != old)
		return;
	store_owner(c, o);
	__sync_lock_test_and_set(&c->attr, attr);
}

/* Makes the current process the owner. Only where the current task is known to
 * act on the socket: a kernel thread acts for someone else. */
static __always_inline void set_current(struct conn *c)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct owner o;

	if (t->flags & PF_KTHREAD)
		return;
	owner_of(&o, t);
	set_owner(c, &o, ATTR_EXACT);
}

/* A socket may connect or listen again after it was closed. */
static __always_inline void begin(struct conn *c, __u32 role, __u64 now)
{
	c->role = role;
	c->opened = now;
	c->signature = 0;
	c->retransmit = 0;
	c->handshake = 0;
	c->reset = 0;
}

/* Turns what was cloned from a listener into the storage of its child. */
static __always_inline void adopt(struct conn *c)
{
	begin(c, ROLE_ACCEPTED, 0);
	c->pass = 0;
	if (c->attr == ATTR_BUSY)
		c->attr = ATTR_UNKNOWN;
	else if (c->attr != ATTR_UNKNOWN)
		c->attr = ATTR_INHERITED;
}

/* Tells a child of a listener that has not been adopted: one in SYN_RECV. */
static __always_inline bool cloned(struct conn *c, int state)
{
	return c->role == ROLE_LISTENER && state != TCP_LISTEN;
}

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

static __always_inline void fill_numbers(struct record *r, struct tcp_sock *tp)
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
}

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
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_at ? BPF_RB_FORCE_WAKEUP :
									BPF_RB_NO_WAKEUP;
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
	fill_numbers(r, tp);
	bpf_ringbuf_submit(r, wake_flags());
}

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

	if (new != TCP_SYN_SENT && new != TCP_LISTEN && new != TCP_ESTABLISHED && new != TCP_CLOSE)
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
	struct conn *c = bpf_sk_storage_get(&conns, sk, 0, 0);

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
		fill_numbers(&r, tp);
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
	if (c && c->role == ROLE_UNKNOWN && ((struct sock *)tp)->__sk_common.skc_state == TCP_LISTEN)
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
