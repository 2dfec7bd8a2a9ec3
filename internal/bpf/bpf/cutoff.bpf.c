// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

/*
 * A filter for packet sockets that passes the first packets of each direction of
 * a TCP connection, and from then on only those that tell of its life and its
 * troubles: SYN, FIN, RST, and what begins before the highest sequence number
 * seen (retransmissions, keep-alives, late segments). What the filter keeps out is
 * counted and costs nothing more.
 *
 * Whatever may carry TCP but cannot be looked into here (tunnels, ICMP errors,
 * extension headers) passes; what cannot is kept out.
 */

#include "types.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* include/uapi/linux/bpf.h. The names of fields that are not read are left out. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 unused[5];
	__u32 ifindex;
};

#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_HDR_START_NET     1

/* include/uapi/linux/if_ether.h, if_packet.h, in.h and in6.h */
#define ETH_P_IP	0x0800
#define ETH_P_IPV6	0x86dd
#define PACKET_OUTGOING 4
#define PROTO_ICMP	1
#define PROTO_IGMP	2
#define PROTO_UDP	17
#define PROTO_ESP	50
#define PROTO_ICMPV6	58
#define PROTO_EIGRP	88
#define PROTO_OSPF	89
#define PROTO_PIM	103
#define PROTO_VRRP	112
#define PROTO_SCTP	132

/* Of a TCP header, RFC 9293, section 3.1. */
#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

/* The first interface of a namespace is its loopback (LOOPBACK_IFINDEX,
 * include/net/net_namespace.h). */
#define LOOPBACK_IFINDEX 1

/* Set before loading. */
const volatile __u32 snaplen;	   /* what is kept of a packet that passes */
const volatile __u32 max_packets;  /* of a direction; 0: no limit */
const volatile __u64 max_bytes;	   /* payload of a direction; 0: no limit */
const volatile __u32 link_header;  /* bytes before the network header in skb->len */
const volatile bool skip_loopback; /* what loopback sends comes again, received */

/* The ends in a fixed order, so that both directions have one key. */
struct ends {
	__u32 addr[2][4];
	__u16 port[2];
};

struct direction {
	__u64 bytes;
	__u32 packets;
	__u32 next; /* the sequence number after the highest seen */
	__u32 isn;
	__u32 known; /* KNOWN_* */
};

#define KNOWN_NEXT 1
#define KNOWN_ISN  2

struct state {
	struct direction dir[2];
	__u64 cut_packets;
	__u64 cut_bytes;
};

struct counts {
	__u64 passed;
	__u64 cut;
	__u64 cut_bytes; /* on the wire, without link headers */
	__u64 ignored;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 18);
	__type(key, struct ends);
	__type(value, struct state);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

/* What is needed of a segment. */
struct segment {
	struct ends ends;
	__u32 dir; /* 0: sent by the first of ends */
	__u32 seq;
	__u32 len;
	__u8 flags;
};

enum verdict {
	PASS,
	IGNORE, /* carries no TCP */
	LOOK,	/* a segment to look at */
};

static __always_inline int load(struct __sk_buff *skb, __u32 off, void *to, __u32 n)
{
	return bpf_skb_load_bytes_relative(skb, off, to, n, BPF_HDR_START_NET);
}

/* Ports behind which a decoder looks for tunnels: VXLAN and its GPE, Geneve,
 * Teredo, GTP, L2TP, LISP, MPLS, TZSP. */
static __always_inline bool tunnel(__u16 port)
{
	switch (port) {
	case 4789:
	case 8472:
	case 4790:
	case 6081:
	case 3544:
	case 2152:
	case 3386:
	case 1701:
	case 4341:
	case 6635:
	case 37008:
		return true;
	}
	return false;
}

/* What becomes of a packet that is not TCP. */
static __always_inline enum verdict other(struct __sk_buff *skb, __u8 proto, __u32 off, bool v6)
{
	__be16 ports[2];
	__u8 type;

	switch (proto) {
	case PROTO_UDP:
		if (load(skb, off, ports, sizeof(ports)))
			return PASS;
		return tunnel(bpf_ntohs(ports[0])) || tunnel(bpf_ntohs(ports[1])) ? PASS : IGNORE;
	case PROTO_ICMP:
		if (v6 || load(skb, off, &type, 1))
			return PASS;
		/* Errors quote what they are about. */
		return type == 3 || type == 4 || type == 5 || type == 11 || type == 12 ? PASS
										       : IGNORE;
	case PROTO_ICMPV6:
		if (!v6 || load(skb, off, &type, 1))
			return PASS;
		return type < 128 ? PASS : IGNORE;
	case PROTO_IGMP:
	case PROTO_ESP:
	case PROTO_EIGRP:
	case PROTO_OSPF:
	case PROTO_PIM:
	case PROTO_VRRP:
	case PROTO_SCTP:
		return IGNORE;
	}
	return PASS;
}

/* Puts the ends into their order. */
static __always_inline void order(struct segment *s, const __u32 *src, const __u32 *dst,
				  __be16 sport, __be16 dport)
{
	int cmp = 0;

	for (int i = 0; i < 4; i++) {
		__u32 a = bpf_ntohl(src[i]), b = bpf_ntohl(dst[i]);

		if (!cmp && a != b)
			cmp = a < b ? -1 : 1;
	}
	if (!cmp)
		cmp = bpf_ntohs(sport) > bpf_ntohs(dport) ? 1 : -1;
	s->dir = cmp > 0;
	for (int i = 0; i < 4; i++) {
		s->ends.addr[0][i] = cmp > 0 ? dst[i] : src[i];
		s->ends.addr[1][i] = cmp > 0 ? src[i] : dst[i];
	}
	s->ends.port[0] = cmp > 0 ? dport : sport;
	s->ends.port[1] = cmp > 0 ? sport : dport;
}

static __always_inline enum verdict tcp(struct __sk_buff *skb, struct segment *s, __u32 off,
					const __u32 *src, const __u32 *dst, __u32 end)
{
	__u8 h[16];
	__u32 header;

	if (load(skb, off, h, sizeof(h)))
		return PASS;
	order(s, src, dst, *(__be16 *)&h[0], *(__be16 *)&h[2]);
	s->seq = (__u32)h[4] << 24 | (__u32)h[5] << 16 | (__u32)h[6] << 8 | h[7];
	s->flags = h[13];
	header = off + (h[12] >> 4) * 4;
	s->len = end > header ? end - header : 0;
	return LOOK;
}

static __always_inline enum verdict ipv4(struct __sk_buff *skb, struct segment *s)
{
	__u32 src[4] = {0, 0, bpf_htonl(0xffff), 0}, dst[4] = {0, 0, bpf_htonl(0xffff), 0};
	__u32 off, end;
	__u8 h[20];

	if (load(skb, 0, h, sizeof(h)) || h[0] >> 4 != 4)
		return PASS;
	off = (h[0] & 0xf) * 4;
	if (h[9] != IPPROTO_TCP)
		return other(skb, h[9], off, false);
	if (((h[6] & 0x1f) << 8 | h[7]) != 0)
		return IGNORE; /* a later fragment has no TCP header */
	end = (__u32)h[2] << 8 | h[3];
	if (!end) /* larger than the field can say */
		end = skb->len - link_header;
	src[3] = *(__u32 *)&h[12];
	dst[3] = *(__u32 *)&h[16];
	return tcp(skb, s, off, src, dst, end);
}

static __always_inline enum verdict ipv6(struct __sk_buff *skb, struct segment *s)
{
	__u32 h[10];
	__u32 end;
	__u8 proto;

	if (load(skb, 0, h, sizeof(h)))
		return PASS;
	proto = ((__u8 *)h)[6];
	if (proto != IPPROTO_TCP)
		return other(skb, proto, 40, true);
	end = (__u32)((__u8 *)h)[4] << 8 | ((__u8 *)h)[5];
	end = end ? end + 40 : skb->len - link_header;
	return tcp(skb, s, 40, &h[2], &h[6], end);
}

/* Moves next on to end, unless it is there. Both directions may be busy on
 * several processors; after a few tries a lower number stays, and a segment too
 * many passes. */
static __always_inline void advance(struct direction *d, __u32 end)
{
	__u32 old = d->next;

	if (!(d->known & KNOWN_NEXT)) {
		d->next = end;
		d->known |= KNOWN_NEXT;
		return;
	}
	for (int i = 0; i < 4; i++) {
		__u32 seen;

		if ((__s32)(end - old) <= 0)
			return;
		seen = __sync_val_compare_and_swap(&d->next, old, end);
		if (seen == old)
			return;
		old = seen;
	}
}

static __always_inline bool keep(struct state *st, struct direction *d, const struct segment *s)
{
	__u32 end = s->seq + s->len;
	bool again, within;

	if ((s->flags & (SYN | ACK)) == SYN && (!(d->known & KNOWN_ISN) || d->isn != s->seq)) {
		/* A new connection between the same ends begins to count anew. */
		for (int i = 0; i < 2; i++) {
			st->dir[i].known = 0;
			st->dir[i].packets = 0;
			st->dir[i].bytes = 0;
		}
		d->isn = s->seq;
		d->known = KNOWN_ISN;
	}
	if (s->flags & SYN)
		end++;
	if (s->flags & FIN)
		end++;
	again = d->known & KNOWN_NEXT && (__s32)(s->seq - d->next) < 0;
	advance(d, end);
	within = (!max_packets || d->packets < max_packets) && (!max_bytes || d->bytes < max_bytes);
	if (within) {
		__sync_fetch_and_add(&d->packets, 1);
		__sync_fetch_and_add(&d->bytes, s->len);
	}
	return within || again || s->flags & (SYN | FIN | RST);
}

SEC("socket")
int cutoff(struct __sk_buff *skb)
{
	struct segment s = {};
	enum verdict v = PASS;
	struct state *st;
	struct counts *c;
	__u32 zero = 0;

	if (skip_loopback && skb->pkt_type == PACKET_OUTGOING && skb->ifindex == LOOPBACK_IFINDEX)
		return 0;
	c = bpf_map_lookup_elem(&counters, &zero);
	if (!c)
		return snaplen;
	switch (bpf_ntohs(skb->protocol)) {
	case ETH_P_IP:
		v = ipv4(skb, &s);
		break;
	case ETH_P_IPV6:
		v = ipv6(skb, &s);
		break;
	case 0x0806: /* ARP */
	case 0x8035: /* RARP */
	case 0x8808: /* pause */
	case 0x8809: /* slow protocols */
	case 0x888e: /* EAPOL */
	case 0x88cc: /* LLDP */
	case 0x88f7: /* PTP */
		v = IGNORE;
	}
	if (v == IGNORE) {
		__sync_fetch_and_add(&c->ignored, 1);
		return 0;
	}
	if (v == LOOK) {
		st = bpf_map_lookup_elem(&connections, &s.ends);
		if (!st) {
			struct state fresh = {};

			bpf_map_update_elem(&connections, &s.ends, &fresh, BPF_NOEXIST);
			st = bpf_map_lookup_elem(&connections, &s.ends);
		}
		if (st && !keep(st, &st->dir[s.dir & 1], &s)) {
			__u32 wire = skb->len - link_header;

			__sync_fetch_and_add(&st->cut_packets, 1);
			__sync_fetch_and_add(&st->cut_bytes, wire);
			__sync_fetch_and_add(&c->cut, 1);
			__sync_fetch_and_add(&c->cut_bytes, wire);
			return 0;
		}
	}
	__sync_fetch_and_add(&c->passed, 1);
	return snaplen;
}
