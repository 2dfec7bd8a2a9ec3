package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// openRing makes the socket and the ring of one interface, and binds it last: no
// frame arrives before filter and ring are in place.
func openRing(cfg *LiveConfig, at *LiveInterface) (r *ring, err error) {
	kind := unix.SOCK_RAW
	if at.Link == LinkLinuxSLL2 {
		kind = unix.SOCK_DGRAM
	}
	fd, err := packetSocket(kind)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if r != nil {
				_ = r.unmap()
			}
			_ = unix.Close(fd)
		}
	}()
	if err := setFilter(fd, cfg, at); err != nil {
		return nil, err
	}
	if r, err = mapRing(fd, cfg); err != nil {
		return nil, err
	}
	r.link, r.loopback, r.down = at.Link, at.Loopback, !at.Up
	if at.Loopback {
		// Since Linux 4.20; before, they are left out in user space.
		err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		r.skipLooped = err != nil
	}
	if at.Index == 0 {
		r.skipLooped = true
	}
	if cfg.HardwareTime {
		err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE)
		if err != nil {
			return r, fmt.Errorf("asking for hardware time stamps: %w", err)
		}
	}
	if cfg.Promiscuous && at.Index != 0 {
		mreq := unix.PacketMreq{Ifindex: int32(at.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return r, fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: at.Index})
	if err != nil {
		return r, fmt.Errorf("binding a packet socket: %w", err)
	}
	if r.down {
		// That is known, and no event.
		_, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	return r, nil
}

func packetSocket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, rightsError("a packet socket", err)
	case err != nil:
		return -1, fmt.Errorf("opening a packet socket: %w", err)
	}
	return fd, nil
}

// networkOrder swaps the bytes of a protocol number for sockaddr_ll.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)})
}

// setFilter attaches what decides, in the kernel, which frames are captured and
// how much of each.
func setFilter(fd int, cfg *LiveConfig, at *LiveInterface) error {
	if cfg.FilterFD != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, cfg.FilterFD); err != nil {
			return fmt.Errorf("attaching the eBPF filter: %w", err)
		}
		return nil
	}
	prog, err := CompileProgram(cfg.Filter, at.Link, cfg.Snaplen)
	if err != nil {
		return err
	}
	err = attachProgram(fd, prog.Raw())
	if errors.Is(err, unix.ENOMEM) && cfg.Filter != nil {
		// net.core.optmem_max is too small for it. The caller checks every
		// segment anyway, so that it may as well get more of them.
		if prog, err = CompileProgram(nil, at.Link, cfg.Snaplen); err != nil {
			return err
		}
		err = attachProgram(fd, prog.Raw())
	}
	if err != nil {
		return fmt.Errorf("attaching the filter: %w", err)
	}
	return nil
}

// rejectAll passes nothing: ret #0.
var rejectAll = []bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K}}

func attachProgram(fd int, raw []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(raw))
	for i, ins := range raw {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// findInterfaces looks the names up, in the namespace of the calling thread.
func findInterfaces(names []string) ([]LiveInterface, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for interfaces: %w", err)
	}
	defer unix.Close(fd)
	ifaces := make([]LiveInterface, 0, len(names))
	for _, name := range names {
		if name == AnyInterface {
			ifaces = append(ifaces, LiveInterface{Name: name, Link: LinkLinuxSLL2, Up: true})
			continue
		}
		at, err := findInterface(fd, name)
		if err != nil {
			return nil, err
		}
		ifaces = append(ifaces, at)
	}
	return ifaces, nil
}

func findInterface(fd int, name string) (LiveInterface, error) {
	at := LiveInterface{Name: name}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return at, noInterface(name, interfaceNames()) // the name is too long
	}
	ask := func(request uint) error { return unix.IoctlIfreq(fd, request, ifr) }
	if err := ask(unix.SIOCGIFINDEX); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return at, noInterface(name, interfaceNames())
		}
		return at, fmt.Errorf("looking for interface %q: %w", name, err)
	}
	at.Index = int(ifr.Uint32())
	if err := ask(unix.SIOCGIFFLAGS); err != nil {
		return at, fmt.Errorf("flags of interface %q: %w", name, err)
	}
	flags := ifr.Uint16()
	at.Up, at.Loopback = flags&unix.IFF_UP != 0, flags&unix.IFF_LOOPBACK != 0
	if err := ask(unix.SIOCGIFHWADDR); err != nil {
		return at, fmt.Errorf("link type of interface %q: %w", name, err)
	}
	at.Link = linkOfHardware(ifr.Uint16())
	return at, nil
}

// linkOfHardware tells how frames of an ARPHRD_ type begin, as the kernel hands
// them to a raw socket. Whatever is not certain is captured without its own
// header, which works for all.
func linkOfHardware(arphrd uint16) LinkType {
	switch arphrd {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP:
		return LinkRaw
	default:
		return LinkLinuxSLL2
	}
}

func interfaceNames() []string {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil // the names are a courtesy
	}
	names := make([]string, len(ifs))
	for i := range ifs {
		names[i] = ifs[i].Name
	}
	return names
}
