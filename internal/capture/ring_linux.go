package capture

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is the memory that one packet socket shares with the kernel, and the
// place where reading stands.
type ring struct {
	fd    int
	iface uint32 // index into Live.ifaces
	link  LinkType
	mem   []byte
	size  int // of a block
	cur   int // the block that is read, or the next that will be

	block ringBlock
	// open says that block is the reader's; ready, that frame is its next.
	open, ready bool
	frame       ringFrame
	// skipLooped leaves out sent frames of loopback interfaces.
	skipLooped bool
	skipped    uint64
	// blocks counts those that were given back.
	blocks int
	// loopback and down tell of the interface.
	loopback, down bool
}

// mapRing gives a socket a ring of about so many bytes. The socket must not be
// bound yet.
func mapRing(fd int, cfg *LiveConfig) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("asking for TPACKET_V3: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_RESERVE, ringReserve); err != nil {
		return nil, fmt.Errorf("asking for room before frames: %w", err)
	}
	// Frames are laid out one after the other whatever their size is said to be;
	// it must only divide a block.
	const frameSize = 2048
	blocks := cfg.RingBytes / cfg.BlockBytes
	req := unix.TpacketReq3{
		Block_size: uint32(cfg.BlockBytes), Block_nr: uint32(blocks),
		Frame_size: frameSize, Frame_nr: uint32(cfg.BlockBytes / frameSize * blocks),
		Retire_blk_tov: uint32(cfg.BlockTimeout.Milliseconds()),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("a ring of %d blocks of %d bytes: %w", blocks, cfg.BlockBytes, err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*cfg.BlockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a ring of %d blocks of %d bytes: %w", blocks, cfg.BlockBytes, err)
	}
	return &ring{fd: fd, mem: mem, size: cfg.BlockBytes}, nil
}

// unmap gives the memory back.
func (r *ring) unmap() error {
	if r.mem == nil {
		return nil
	}
	err := unix.Munmap(r.mem)
	r.mem, r.block, r.open, r.ready = nil, ringBlock{}, false, false
	return err
}

// status is the word by which kernel and reader pass a block to each other. What
// the kernel wrote before it set the word is visible after it was loaded.
func (r *ring) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[r.cur*r.size+offBlockStatus]))
}

// peek finds the next frame, if the kernel has handed one over, and gives blocks
// back that are read. What an earlier frame referred to is gone then.
func (r *ring) peek() (bool, error) {
	for !r.ready {
		if !r.open {
			if atomic.LoadUint32(r.status())&statusUser == 0 {
				return false, nil
			}
			var err error
			begin := r.cur * r.size
			if r.block, err = openBlock(r.mem[begin : begin+r.size : begin+r.size]); err != nil {
				return false, err
			}
			r.open = true
		}
		ok, err := r.block.head(&r.frame)
		if err != nil {
			return false, err
		}
		if !ok {
			atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
			r.open = false
			r.blocks++
			if r.cur++; r.cur*r.size == len(r.mem) {
				r.cur = 0
			}
			continue
		}
		if r.skipLooped && r.frame.loopedOut() {
			r.skipped++
			if err := r.block.skip(); err != nil {
				return false, err
			}
			continue
		}
		r.ready = true
	}
	return true, nil
}

// take goes past the frame that peek found. The frame stays valid until the next
// peek.
func (r *ring) take() error {
	r.ready = false
	return r.block.skip()
}
