package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Now reads both clocks. The two readings are some hundred nanoseconds apart.
func Now() tcp.Stamp {
	var wall, boot unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &wall)
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	return tcp.Stamp{Wall: wall.Nano(), Boot: boot.Nano()}
}

// BootID returns the random id of this boot.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// initPIDNS is the inode number of the first pid namespace
// (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const initPIDNS = 0xEFFFFFFC

// PIDNamespace returns the inode number of this process's pid namespace, and
// whether that is the first one, whose numbers the kernel's own are.
func PIDNamespace() (inode uint32, initial bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, false, fmt.Errorf("reading /proc/self/ns/pid: %w", err)
	}
	return uint32(st.Ino), st.Ino == initPIDNS, nil
}

// HasCapability reports whether the calling thread has an effective capability
// (a CAP_ constant of include/uapi/linux/capability.h).
func HasCapability(capability int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	if capability < 0 || capability/32 >= len(data) {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
