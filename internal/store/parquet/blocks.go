package parquet

// blockSource is the rows of some blocks, one after the other.
type blockSource struct{ blocks []block }

func (s blockSource) fill(v *vec, c *column) error {
	for i := range s.blocks {
		if err := s.blocks[i].decode(v, c.tag); err != nil {
			return err
		}
	}
	return nil
}

func (s blockSource) complete(c *column) bool {
	for i := range s.blocks {
		if bc := s.blocks[i].column(c.tag); bc == nil || bc.enc&encKnown != 0 {
			return false
		}
	}
	return true
}
