package tcp

// Owner is what a source knows of the process behind a socket.
type Owner struct {
	// PID is the process (thread group) as seen in the collector's pid
	// namespace; 0 is unknown.
	PID int32
	// Start is when the process started, in nanoseconds of the boot clock cut
	// to the 10 ms of /proc/PID/stat, so that all sources agree. With PID it
	// names one process; 0 is unknown.
	Start uint64
	// Comm is the task's name when the source looked.
	Comm Comm
	// CgroupID is the inode number of the cgroup v2 directory; 0 is unknown.
	CgroupID uint64
}

// StartGranularity is the resolution of Owner.Start: one tick of USER_HZ.
const StartGranularity = 10_000_000

// ProcessID names one process during one boot, whatever becomes of its number.
type ProcessID struct {
	PID   int32
	Start uint64
}

// Process is one process, shared by its connections and never changed once
// published. Texts are as the kernel gave them: sanitise them at the sink.
type Process struct {
	ProcessID
	Name    string // comm
	Exe     string
	Cmdline string // arguments that look like secrets are masked
	Parent  int32
	// UID is the real user id, known when HasUID.
	UID       uint32
	HasUID    bool
	User      string
	Container string // 64 hex digits cut to 12, or the runtime's name
	Unit      string // systemd unit
	Cgroup    string // path, from the unified hierarchy where there is one
}
