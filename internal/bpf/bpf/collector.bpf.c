// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

/*
 * The collector of ViewTCP's first tier. Tracepoints report what begins and
 * ends, iterators walk what is there, and what is known of a socket beyond the
 * kernel's own numbers (its process, when it was opened) is kept in the socket
 * itself: it cannot outgrow a map, and goes when the socket goes.
 *
 * Only collecting happens here; what the numbers mean is decided in record.go.
 */

#include "events.bpf.h"
#include "walk.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Nothing refers to it: it puts the types of record.bpf.h into the object, for the
 * test that holds record.go against them. */
const struct {
	struct record record;
	enum kind kind;
	enum role role;
	enum attribution attribution;
	enum reset reset;
	enum flag flag;
} *record_types __attribute__((unused));
