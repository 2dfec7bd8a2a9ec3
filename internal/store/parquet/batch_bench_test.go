package parquet

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// BenchmarkBatch encodes batches of 1,000 records for the log.
func BenchmarkBatch(b *testing.B) {
	const batches, rows = 50, 1000
	g := storetest.NewGenerator(61, batches*rows, storetest.Begin, 1)
	var list [batches]store.Batch
	for i := range list {
		list[i].Records = g.Next(nil, rows)
	}
	var enc batchEncoder
	var buf []byte
	for i := 0; b.Loop(); i++ {
		var err error
		if buf, err = enc.append(buf[:0], &list[i%batches]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
	b.ReportMetric(float64(len(buf))/rows, "bytes/row")
}
