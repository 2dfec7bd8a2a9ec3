/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * What the collector hands to user space: a head, and for sockets with a
 * tcp_sock the numbers after it. record.go reads both at fixed offsets; a test
 * holds those against this file through the object's type information. There is
 * no hidden padding: records lie in the ring as they were written.
 */

#ifndef VIEWTCP_RECORD_H
#define VIEWTCP_RECORD_H

#include "types.bpf.h"

enum kind {
	KIND_SEEN = 1,	  /* head + numbers: found by a walk */
	KIND_MINI,	  /* head: TIME_WAIT or request socket found by a walk */
	KIND_LISTENER,	  /* head: LISTEN socket, found by a walk or new */
	KIND_ESTABLISHED, /* head */
	KIND_RETRANSMIT,  /* head */
	KIND_RESET,	  /* head */
	KIND_CLOSED,	  /* head + numbers */
	KIND_UNLISTENED,  /* head: a LISTEN socket ended */
};

/* How the connection began. */
enum role {
	ROLE_UNKNOWN,
	ROLE_CONNECTED,
	ROLE_ACCEPTED,
	ROLE_LISTENER,
};

/* How the owner is known; ATTR_BUSY guards a change of it. */
enum attribution {
	ATTR_UNKNOWN,
	ATTR_SCAN,
	ATTR_INHERITED,
	ATTR_EXACT,
	ATTR_BUSY = 0xff,
};

enum reset {
	RESET_SENT = 1,
	RESET_RECEIVED = 2,
};

enum flag {
	FLAG_FIN_RECEIVED = 1 << 0, /* SOCK_DONE: a FIN is counted in bytes_received */
	FLAG_DEAD = 1 << 1,	    /* SOCK_DEAD: no process has it open */
	FLAG_APP_LIMITED = 1 << 2,
	FLAG_NO_LINGER = 1 << 3,    /* TCP_LINGER2 below 0: no FIN_WAIT2 */
	FLAG_AFTER_CLOSE = 1 << 4,  /* the RST went out after the state became CLOSE */
	FLAG_RCV_SHUTDOWN = 1 << 5, /* no process will read any more */
	FLAG_UID = 1 << 6,	    /* uid is known */
};

struct head {
	__u16 size;   /* of the whole record */
	__u8 kind;    /* enum kind */
	__u8 state;   /* include/net/tcp_states.h */
	__u8 old;     /* KIND_CLOSED: the state before */
	__u8 family;  /* AF_INET or AF_INET6 */
	__u8 role;    /* enum role */
	__u8 attr;    /* enum attribution */
	__u8 reset;   /* enum reset, all that were seen */
	__u8 flags;   /* enum flag */
	__u16 lport;  /* host order */
	__u16 rport;  /* host order */
	__u16 chrono; /* tcp_sock.chrono_type */

	__u64 time; /* boot clock, ns */
	__u64 cookie;
	__u64 opened; /* boot clock, ns; 0 is unknown */
	__u64 start;  /* of the process; boot clock, ns */
	__u64 cgroup;

	__u32 netns;
	__u32 uid;
	__u32 inode;
	__u32 pid;
	__u32 handshake; /* us; 0 is unknown */
	__u32 err;	 /* sk_err */
	__u32 a;	 /* LISTEN: sk_ack_backlog; RETRANSMIT: total_retrans; RESET: enum reset */
	__u32 b;	 /* LISTEN: sk_max_ack_backlog */

	char comm[TASK_COMM_LEN];
	__be32 laddr[4]; /* IPv4 is mapped */
	__be32 raddr[4];
};

/* Names are those of struct tcp_sock. */
struct numbers {
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_received;
	__u64 pacing_rate;

	__u32 segs_out;
	__u32 segs_in;
	__u32 write_seq;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 packets_out;
	__u32 lost_out;
	__u32 reordering;
	__u32 total_retrans;
	__u32 dsack_dups;
	__u32 rcv_ooopack;
	__u32 delivered_ce;
	__u32 srtt_us;
	__u32 mdev_us;
	__u32 min_rtt_us;
	__u32 rto; /* jiffies */
	__u32 mss_cache;
	__u32 pmtu;
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 chrono_stat[3]; /* jiffies */
	__u32 chrono_run;     /* jiffies since the present one of them began */

	char cc[TCP_CA_NAME_MAX];

	/* Since the connection was opened, if that was seen. */
	__u16 recoveries;
	__u16 timeouts;
	__u8 ca_state; /* enum tcp_ca_state of include/uapi/linux/tcp.h */
	__u8 unused[3];
};

struct record {
	struct head h;
	struct numbers n;
};

/* What could not be written to the ring, counted on each CPU. */
struct drops {
	__u64 closes;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 events;
};

/* What is kept with each socket. */
struct conn {
	__u64 opened;	  /* boot clock, ns */
	__u64 signature;  /* of the counters when a walk last showed it */
	__u64 retransmit; /* when a retransmission was last told; boot clock, ns */
	__u64 start;
	__u64 cgroup;
	char comm[TASK_COMM_LEN];
	__u32 pid;
	__u32 attr; /* enum attribution; 32 bits because it is changed by cmpxchg */
	__u32 handshake;
	__u32 pass;  /* number of the walk that last showed it */
	__u32 role;  /* enum role */
	__u32 reset; /* enum reset; 32 bits for atomic or */
	__u32 told;  /* the last state that was reported */
	__u16 recoveries;
	__u16 timeouts;
};

/* Owner of an MPTCP socket, by inode. */
struct owner {
	__u64 start;
	__u64 cgroup;
	char comm[TASK_COMM_LEN];
	__u32 pid;
	__u32 pad;
};

#endif
