package parquet

import (
	"sync"

	"github.com/klauspost/compress/zstd"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"
)

// A zstdCodec is the library's codec with a window that fits pages: its own keeps
// eight megabytes for each encoder.
type zstdCodec struct {
	parquetzstd.Codec // decodes
	encoders          sync.Pool
}

// window is more than most pages; larger ones lose little.
const window = 256 << 10

func newZstd() *zstdCodec { return new(zstdCodec) }

// Encode implements compress.Codec.
func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	e, _ := c.encoders.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return dst, err
		}
	}
	defer c.encoders.Put(e)
	return e.EncodeAll(src, dst[:0]), nil
}
