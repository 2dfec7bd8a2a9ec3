package parquet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// FuzzDecodeDelta holds the decoder of DELTA_BINARY_PACKED against the library's.
func FuzzDecodeDelta(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add([]byte("\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x00\x00\x00\x00\x00\x00\x00\x80"), uint8(3))
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b []byte
		for range 300 {
			b = binary.LittleEndian.AppendUint64(b, rng.Uint64()>>rng.UintN(64))
		}
		f.Add(b, uint8(7*seed))
	}
	var e delta.BinaryPackedEncoding
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var want []int64
		var want32 []int32
		for i := 0; i+8 <= len(b); i += 8 {
			n := int64(binary.LittleEndian.Uint64(b[i:])) >> (cut % 64)
			want, want32 = append(want, n), append(want32, int32(n))
		}
		enc, err := e.EncodeInt64(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]uint64, len(want))
		if rest, err := decodeDelta(got, append(enc, "rest"...), maxOf(store.Uint64)); len(want) > 0 && (err != nil || string(rest) != "rest") {
			t.Fatalf("%d numbers: %v, %q left", len(want), err, rest)
		}
		for i, n := range got {
			if int64(n) != want[i] {
				t.Fatalf("number %d of %d is %d, want %d", i, len(want), int64(n), want[i])
			}
		}
		if enc, err = e.EncodeInt32(nil, want32); err != nil {
			t.Fatal(err)
		}
		if _, err := decodeDelta(got, enc, maxOf(store.Uint32)); len(want) > 0 && err != nil {
			t.Fatal(err)
		}
		for i, n := range got {
			if n != uint64(uint32(want32[i])) {
				t.Fatalf("number %d of %d is %d, want %d", i, len(want), n, uint32(want32[i]))
			}
		}
		// Whatever is no numbers is an error, or numbers.
		_, _ = decodeDelta(make([]uint64, int(cut)), b, maxOf(store.Uint64))
	})
}

// FuzzDecodeHybrid holds the decoder of runs and packed groups against the
// library's encoder.
func FuzzDecodeHybrid(f *testing.F) {
	f.Add([]byte{}, uint8(1))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x03\x03"), uint8(2))
	f.Add([]byte("some bytes that are not in runs, and quite a few of them"), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, width uint8) {
		w := uint(width)%24 + 1
		want := make([]int32, len(b))
		for i, c := range b {
			want[i] = int32(uint64(c) * 0x010101 & (1<<w - 1))
		}
		e := rle.Encoding{BitWidth: int(w)}
		enc, err := e.EncodeInt32(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]uint32, len(want))
		if _, err := decodeHybrid(got, enc, w); err != nil {
			t.Fatal(err)
		}
		for i, n := range got {
			if int32(n) != want[i] {
				t.Fatalf("number %d of %d, of %d bits, is %d, want %d", i, len(want), w, n, want[i])
			}
		}
		_, _ = decodeHybrid(make([]uint32, int(width)), b, w)
	})
}

// FuzzDecodeLevels holds levels against the decoder of all numbers.
func FuzzDecodeLevels(f *testing.F) {
	f.Add([]byte("\x03\xa5"), uint8(7))
	f.Add([]byte("\x10\x01\x05\xff\x00"), uint8(20))
	f.Fuzz(func(t *testing.T, b []byte, rows uint8) {
		known, nums := make([]bool, rows), make([]uint32, rows)
		n, err := decodeLevels(known, b)
		most, nerr := decodeHybrid(nums, b, 1)
		if most > 1 {
			nerr = errPage
		}
		if (err == nil) != (nerr == nil) {
			t.Fatalf("error %v, of numbers %v", err, nerr)
		}
		if err != nil {
			return
		}
		for i, is := range known {
			if is != (nums[i] == 1) {
				t.Fatalf("row %d of %d is known: %v, number %d", i, rows, is, nums[i])
			}
			n -= int(nums[i])
		}
		if n != 0 {
			t.Fatalf("%d too many are said to be known", n)
		}
	})
}

// FuzzPageHeader checks that what comes of a header is what stands in it, and bounds
// of its own.
func FuzzPageHeader(f *testing.F) {
	var p thrift.CompactProtocol
	data := format.PageHeader{
		Type: format.DataPageV2, UncompressedPageSize: 70000, CompressedPageSize: 3, CRC: -7,
		DataPageHeaderV2: thrift.Null[format.DataPageHeaderV2]{Valid: true, V: format.DataPageHeaderV2{
			NumValues: 8192, NumNulls: 12, NumRows: 8192, Encoding: format.RLEDictionary, DefinitionLevelsByteLength: 2,
			IsCompressed: thrift.Null[bool]{Valid: true, V: true},
			Statistics:   format.Statistics{NullCount: 12, MinValue: []byte("a"), MaxValue: []byte("zz")},
		}},
	}
	dict := format.PageHeader{
		Type: format.DictionaryPage, UncompressedPageSize: 9, CompressedPageSize: 2,
		DictionaryPageHeader: thrift.Null[format.DictionaryPageHeader]{Valid: true, V: format.DictionaryPageHeader{NumValues: 4, IsSorted: true}},
	}
	first := format.PageHeader{
		Type: format.DataPage, UncompressedPageSize: 90000, CompressedPageSize: 4, CRC: 7,
		DataPageHeader: thrift.Null[format.DataPageHeader]{Valid: true, V: format.DataPageHeader{
			NumValues: 8192, Encoding: format.DeltaBinaryPacked, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}},
	}
	for _, h := range []format.PageHeader{data, dict, first} {
		b, err := thrift.Marshal(&p, &h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(b, "body"...))
	}
	f.Add(bytes.Repeat([]byte{1<<4 | byte(thrift.STRUCT)}, 1<<20))            // structs in structs
	f.Add([]byte("\x99\xfc\xff\xff\xff\xff\x07"))                             // a list of 1<<31-1 structs
	f.Add([]byte("\x15\x00\x15\x02\x15\x02\x59\xfc\xff\xff\xff\xff\x07\x00")) // the same after a page's sizes
	headers := newHeaderReader()
	f.Fuzz(func(t *testing.T, b []byte) {
		got, rest, err := headers.parse(b)
		if err != nil {
			return
		}
		if len(rest) >= len(b) || string(rest) != string(b[len(b)-len(rest):]) || got.size > len(rest) ||
			got.nulls > got.rows || got.levels+got.repeats > got.size {
			t.Fatalf("%+v of %d bytes, %d left", got, len(b), len(rest))
		}
		if least := min(got.size, got.plain, got.rows, got.nulls, got.levels, got.repeats); least < 0 {
			t.Fatalf("%+v", got)
		}
		var want format.PageHeader
		r := p.NewReaderFromBytes(b)
		if err := thrift.NewDecoder(r).Decode(&want); err != nil || len(b)-r.BytesRead() != len(rest) {
			t.Fatalf("%+v, which the library does not read: %v", got, err)
		}
		if got.kind != want.Type || got.size != int(want.CompressedPageSize) || got.plain != int(want.UncompressedPageSize) || got.crc != uint32(want.CRC) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if v := want.DataPageHeaderV2; got.kind == format.DataPageV2 && (!v.Valid || got.rows != int(v.V.NumRows) || got.nulls != int(v.V.NumNulls) ||
			got.encoding != v.V.Encoding || got.levels != int(v.V.DefinitionLevelsByteLength) || got.uncompressed != (v.V.IsCompressed.Valid && !v.V.IsCompressed.V)) {
			t.Fatalf("%+v, want %+v", got, v.V)
		}
		if v := want.DataPageHeader; got.kind == format.DataPage && (!v.Valid || got.rows != int(v.V.NumValues) || got.encoding != v.V.Encoding) {
			t.Fatalf("%+v, want %+v", got, v.V)
		}
		if v := want.DictionaryPageHeader; got.kind == format.DictionaryPage && (!v.Valid || got.rows != int(v.V.NumValues) || got.encoding != v.V.Encoding) {
			t.Fatalf("%+v, want %+v", got, v.V)
		}
	})
}

// TestReadSome reads some rows of each column and compares them with all rows.
func TestReadSome(t *testing.T) {
	e := mustOpen(t, testConfig(t.TempDir()))
	storetest.Fill(t, e, storetest.History(3, 200, storetest.Begin, 24*time.Hour), 4)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, info := range e.view.Load().segments {
		if err := e.withSegment(&info, func(src source) error {
			s := src.(*segmentFile)
			var rows []uint32
			for row := range uint32(info.Rows) {
				if rng.IntN(5) == 0 {
					rows = append(rows, row)
				}
			}
			for i := range s.table.columns {
				c := &s.table.columns[i]
				all, some := new(vec), new(vec)
				all.reset(c.typ)
				some.reset(c.typ)
				if err := s.fill(all, c); err != nil {
					return err
				}
				if err := s.fillSome(some, c, rows); err != nil {
					return err
				}
				want := new(vec)
				want.reset(c.typ)
				for _, row := range rows {
					want.appendFrom(all, int(row))
				}
				if got, want := textsOf(some), textsOf(want); !slices.Equal(got, want) {
					t.Errorf("%s, column %s: %q, want %q", info.Table, c.name, got, want)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// textsOf writes the values of a column out.
func textsOf(v *vec) (out []string) {
	for i := range v.len() {
		switch {
		case !v.has(i):
			out = append(out, "unknown")
		case textual(v.typ):
			out = append(out, v.dict[v.codes[i]])
		default:
			out = append(out, string(binary.LittleEndian.AppendUint64(nil, v.nums[i])))
		}
	}
	return out
}

// TestParseAddr holds the reader of usual addresses against netip's.
func TestParseAddr(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "192.0.2.255", "192.0.2.256", "192.0.2", "192.0.2.", "192.0..2", ".1.2.3", "01.2.3.4", "1.2.3.04", "1.2.3.4.5",
		"1234.1.1.1", "", "1.2.3.x", "2001:db8::1", "::ffff:192.0.2.1", "192.0.2.1 ",
	} {
		ip, err := netip.ParseAddr(s)
		got, failed := parseAddr([]byte(s))
		if (err == nil) != (failed == nil) || err == nil && got != tcp.AddrFrom(ip) {
			t.Errorf("%q: %v, %v, want %v, %v", s, got, failed, ip, err)
		}
	}
}

// TestSegmentCache checks that a segment that changed on disk is found out, however
// much of it is remembered, and that the file is what counts.
func TestSegmentCache(t *testing.T) {
	cfg := testConfig(t.TempDir())
	e := mustOpen(t, cfg)
	storetest.Fill(t, e, storetest.NewGenerator(5, 300, testBegin, 1).Next(nil, 300), 3)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	count := func(q store.Querier) (n int, complete bool) {
		a, err := q.Records(t.Context(), &store.Query{}, func(*store.Record) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n, a.Complete()
	}
	for range 2 {
		for _, q := range []store.Querier{e, r} {
			if n, complete := count(q); n != 300 || !complete {
				t.Fatalf("%d rows, complete %v", n, complete)
			}
		}
	}
	var info segmentInfo
	for _, s := range e.view.Load().segments {
		if s.Table == store.Connections.String() {
			info = s
		}
	}
	if e.metas.get(&info) == nil || r.metas.get(&info) == nil {
		t.Error("nothing is remembered of a segment that was read")
	}
	path := osFS{cfg.Dir}.path(info.name())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(good)
	bad[len(bad)-100] ^= 1 // in the footer
	for _, b := range [][]byte{bad, good[:len(good)-1]} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, q := range []store.Querier{e, r} {
			if n, complete := count(q); n == 300 || complete {
				t.Errorf("%d rows of a segment that changed, complete %v", n, complete)
			}
		}
	}
}
