package tcp

import (
	"reflect"
	"sync/atomic"
	"testing"
)

// TestClone goes over the fields of a connection, so that a pointer that is added
// is not forgotten.
func TestClone(t *testing.T) {
	c := &Conn{
		ID: 7, Clock: new(atomic.Int64), Process: &Process{Name: "curl"},
		Names: &Names{Host: "db1"}, Packets: &PacketStats{Stream: 3},
	}
	own := c.Clone()
	if !reflect.DeepEqual(own, c) {
		t.Errorf("the copy is %+v, want %+v", own, c)
	}
	if own.Clock != c.Clock {
		t.Error("the clock is a copy, which stands still")
	}
	was, is := reflect.ValueOf(c).Elem(), reflect.ValueOf(own).Elem()
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		switch f := was.Field(i); f.Kind() {
		case reflect.Pointer:
			if f.IsNil() {
				t.Errorf("%s is nil, so that this test says nothing of it", name)
			} else if name != "Clock" && f.Pointer() == is.Field(i).Pointer() {
				t.Errorf("%s is shared", name)
			}
		case reflect.Slice, reflect.Map:
			t.Errorf("%s is shared by a plain copy", name)
		default: // a value
		}
	}
	if none := (&Conn{ID: 1}).Clone(); none.Process != nil || none.Names != nil || none.Packets != nil {
		t.Errorf("the copy knows more: %+v", none)
	}
}
