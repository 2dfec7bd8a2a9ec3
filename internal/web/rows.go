package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
)

// Media types of rows.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// rowStream writes the rows of an answer as they come, and then the answer: as one
// object with the members rows and answer, or as lines of which the last has the
// answer. An error after the first row stands in place of the answer.
type rowStream struct {
	s     *Server
	w     *response
	lines bool
	buf   []byte
	rows  int
	// limit ends the rows; 0 is none. limited says that it did.
	limit   int
	limited bool
	started bool
}

// errEnough ends a query whose reader has all that it may have.
var errEnough = errors.New("the limit of rows is reached")

// rows answers with rows of the store: ask writes them to out, in a place for
// questions. A reader who wants but the header gets no more.
func (s *Server) rows(w *response, r *request, ask func(ctx context.Context, out *rowStream) (*store.Answer, error)) error {
	if s.cfg.Store == nil {
		return errNoStore
	}
	out, err := s.newRows(w, r)
	if err != nil || r.Method == http.MethodHead {
		return err
	}
	ctx, release, err := s.query(r.Context())
	if err != nil {
		return err
	}
	defer release()
	return out.end(ask(ctx, out))
}

// newRows begins an answer in the format that the reader asks for.
func (s *Server) newRows(w *response, r *request) (*rowStream, error) {
	lines, err := wantsLines(r)
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", typeJSON)
	if lines {
		w.Header().Set("Content-Type", typeNDJSON)
	}
	return &rowStream{s: s, w: w, lines: lines}, nil
}

// wantsLines reports whether a reader asks for a row a line.
func wantsLines(r *request) (bool, error) {
	switch text := r.query.Get("format"); text {
	case "":
		accept := r.Header.Get("Accept")
		return strings.Contains(accept, "ndjson") || strings.Contains(accept, "jsonl"), nil
	case "ndjson", "jsonl":
		return true, nil
	case "json":
		return false, nil
	default:
		return false, api.BadParameter("format", quote(text)+" is neither json nor ndjson")
	}
}

// next returns the memory for the next row.
func (o *rowStream) next() []byte {
	if !o.lines {
		if o.rows == 0 {
			o.buf = append(o.buf, `{"rows":[`...)
		} else {
			o.buf = append(o.buf, ',')
		}
		o.buf = append(o.buf, '\n')
	}
	return o.buf
}

// row takes what next returned with a row appended.
func (o *rowStream) row(b []byte) error {
	o.buf = b
	o.rows++
	if o.lines {
		o.buf = append(o.buf, '\n')
	}
	if len(o.buf) < writeAt {
		return nil
	}
	return o.flush()
}

// bound limits the rows to n, 0 is none. Lines may have no bound, because nobody
// has to hold them all.
func (o *rowStream) bound(n int) {
	if most := o.s.cfg.Limits.MaxRows; !o.lines && (n == 0 || n > most) {
		n = most
	}
	o.limit = n
}

// full reports whether the next row is over the limit.
func (o *rowStream) full() bool {
	o.limited = o.limit > 0 && o.rows >= o.limit
	return o.limited
}

func (o *rowStream) flush() error {
	o.started = true
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// end writes the answer, or why there is none.
func (o *rowStream) end(answer *store.Answer, err error) error {
	if errors.Is(err, errEnough) {
		err = nil
		if answer == nil {
			answer = &store.Answer{}
		}
	}
	var end api.End
	switch {
	case err != nil && !o.started:
		return err // it can still be a problem of its own
	case err != nil:
		end.Error = problemOf(err)
	default:
		end.Answer = api.AnswerOf(answer)
		if o.limited {
			end.Answer.Limited = o.rows
		}
	}
	text, merr := json.Marshal(&end)
	if merr != nil {
		return merr
	}
	switch {
	case o.lines:
		o.buf = append(append(o.buf, text...), '\n')
	case o.rows == 0:
		o.buf = append(append(o.buf, `{"rows":[],`...), text[1:]...)
	default:
		o.buf = append(append(o.buf, "\n],"...), text[1:]...)
	}
	if ferr := o.flush(); ferr != nil {
		return ferr
	}
	if err != nil {
		o.s.log.Debug("question failed after some rows", "error", err.Error())
		return fmt.Errorf("%w: %w", errTold, err)
	}
	return nil
}
