/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * What user space sets, and the maps it reads.
 */

#ifndef VIEWTCP_MAPS_H
#define VIEWTCP_MAPS_H

#include "record.bpf.h"
#include <bpf/bpf_helpers.h>

/* Set before loading. */
const volatile __u32 pid_ns; /* inode of the pid namespace to name processes in; 0: the first */
const volatile __u32
	home_netns; /* inode of the namespace that the tcp iterator walks each second */
const volatile __u32 only_netns; /* report this namespace alone; 0: all */
const volatile __u64 wake_at;	 /* bytes in the ring that wake the reader at once */
const volatile bool tracking;	 /* walks follow each other: keep signatures */

enum walk {
	WALK_FULL,  /* every socket */
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
/* A process read from a socket or wrote to one, in whatever namespace: what may
 * change without a segment. Taken back by who walks. */
volatile __u32 moved;
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

#endif
