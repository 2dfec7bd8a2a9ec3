package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// truthFile is one capture with what tshark found in it.
type truthFile struct {
	name    string
	path    string
	packets map[uint64]truthPacket
	streams map[uint32]truthStream
}

// truthPacket is what tshark says of one frame.
type truthPacket struct {
	stream uint32
	dir    string // a sent the first segment of the stream, b is the other end
	mask   uint16
	// noLen marks segments of which tshark knows no length, and so analyses
	// nothing.
	noLen  bool
	flight string
	ackRTT string
	dupAck string
}

// truthStream is what tshark says of one stream.
type truthStream struct {
	File      string
	Stream    uint32
	Packets   uint64
	Ambiguous bool
	InICMP    uint64 `json:"in_icmp"`
	NoLen     uint64 `json:"no_len"`
	// InitialRTT is in seconds; absent is unknown.
	InitialRTT   *float64 `json:"initial_rtt"`
	Completeness uint8    `json:"completeness_last"`
	A, B         truthSide
}

type truthSide struct {
	Packets, Bytes, Payload uint64
	MSS                     *uint16
	MinWindow               *uint32 `json:"min_window"`
}

// kernelPacket is what the sending kernel really did.
type kernelPacket struct {
	label    string // new, retrans, probe, or none for what has no number
	atSender bool
	copied   bool // by the network
	stream   uint32
	dir      string
}

// errNoTruth says that a directory of captures has no truth beside it.
var errNoTruth = errors.New("no truth/files.csv")

// loadTruth reads the truth of all captures below dir.
func loadTruth(dir string) ([]truthFile, error) {
	index, err := os.Open(filepath.Join(dir, "truth", "files.csv"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errNoTruth, err)
	}
	if err != nil {
		return nil, err
	}
	defer index.Close()
	rows, err := csv.NewReader(index).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("reading truth/files.csv: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	streams, err := loadStreams(dir)
	if err != nil {
		return nil, err
	}
	var files []truthFile
	for _, row := range rows[1:] {
		f := truthFile{
			name:    row[0],
			path:    filepath.Join(dir, strings.Replace(row[0], "@", string(filepath.Separator), 1)),
			streams: streams[row[0]],
		}
		f.packets = map[uint64]truthPacket{}
		err := readTable(filepath.Join(dir, "truth", "packets", f.name+".csv.gz"), f.packet)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (f *truthFile) packet(get func(string) string) error {
	frame, err := strconv.ParseUint(get("frame"), 10, 64)
	if err != nil {
		return err
	}
	stream, err := strconv.ParseUint(get("stream"), 10, 32)
	if err != nil {
		return err
	}
	mask, err := strconv.ParseUint(get("mask"), 10, 16)
	if err != nil {
		return err
	}
	f.packets[frame] = truthPacket{
		stream: uint32(stream), dir: get("dir"), mask: uint16(mask), noLen: get("tcplen") == "",
		flight: get("bif"), ackRTT: get("ack_rtt"), dupAck: get("dup_num"),
	}
	return nil
}

func loadStreams(dir string) (map[string]map[uint32]truthStream, error) {
	streams := map[string]map[uint32]truthStream{}
	err := readLines(filepath.Join(dir, "truth", "streams.jsonl.gz"), func(line []byte) error {
		var s truthStream
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		if streams[s.File] == nil {
			streams[s.File] = map[uint32]truthStream{}
		}
		streams[s.File][s.Stream] = s
		return nil
	})
	return streams, err
}

// loadKernel reads the labels of the captures of which the sending kernel is
// known, by file and frame.
func loadKernel(dir string) (map[string]map[uint64]kernelPacket, error) {
	labels := map[string]map[uint64]kernelPacket{}
	err := readTable(filepath.Join(dir, "truth", "kernel_packets.csv.gz"), func(get func(string) string) error {
		file := get("file")
		if labels[file] == nil {
			labels[file] = map[uint64]kernelPacket{}
		}
		frame, err := strconv.ParseUint(get("frame"), 10, 64)
		if err != nil {
			return err
		}
		stream, err := strconv.ParseUint(get("stream"), 10, 32)
		if err != nil {
			return err
		}
		labels[file][frame] = kernelPacket{
			label: get("label"), atSender: get("at_sender") == "1", copied: get("netdup") == "1",
			stream: uint32(stream), dir: get("dir"),
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return labels, err
}

// readTable calls row for each line of a compressed CSV file with a head.
func readTable(path string, row func(get func(string) string) error) error {
	return readCompressed(path, func(text io.Reader) error {
		r := csv.NewReader(text)
		r.ReuseRecord = true
		head, err := r.Read()
		if err != nil {
			return err
		}
		columns := map[string]int{}
		for i, name := range head {
			columns[name] = i
		}
		for {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			get := func(name string) string {
				if i, ok := columns[name]; ok {
					return record[i]
				}
				return ""
			}
			if err := row(get); err != nil {
				return err
			}
		}
	})
}

// readLines calls line for each line of a compressed text file.
func readLines(path string, line func([]byte) error) error {
	return readCompressed(path, func(text io.Reader) error {
		s := bufio.NewScanner(text)
		s.Buffer(nil, 1<<24)
		for s.Scan() {
			if err := line(s.Bytes()); err != nil {
				return err
			}
		}
		return s.Err()
	})
}

// readCompressed hands the content of a compressed file to read.
func readCompressed(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = read(z)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
