/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */

/*
 * What is kept with a socket: how its connection began, and whose it is.
 */

#ifndef VIEWTCP_OWNER_H
#define VIEWTCP_OWNER_H

#include "maps.bpf.h"
#include <bpf/bpf_core_read.h>

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

#endif
