package api

import (
	"net/http"
	"strconv"
)

// ProblemType is the media type of errors (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is an error as the API tells it (RFC 9457).
type Problem struct {
	// Type names the kind of problem; it is a relative reference and no page.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is one sentence about this occurrence.
	Detail string `json:"detail,omitempty"`
	// Parameter is the query parameter that is wrong.
	Parameter string `json:"parameter,omitempty"`
	// Position and End are byte offsets into a filter; Column counts characters
	// from 1. Suggestion is what may have been meant.
	Position   *int   `json:"position,omitempty"`
	End        *int   `json:"end,omitempty"`
	Column     int    `json:"column,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	// RetryAfter is seconds, as in the header of that name.
	RetryAfter int `json:"retry_after,omitempty"`
}

// Kinds of problems.
const (
	ProblemBadRequest   = "/problems/bad-request"
	ProblemFilter       = "/problems/filter"
	ProblemUnauthorized = "/problems/unauthorized"
	ProblemHost         = "/problems/host"
	ProblemCrossOrigin  = "/problems/cross-origin"
	ProblemNotFound     = "/problems/not-found"
	ProblemMethod       = "/problems/method"
	ProblemTooLarge     = "/problems/too-large"
	ProblemBusy         = "/problems/busy"
	ProblemLimit        = "/problems/limit"
	ProblemAbsent       = "/problems/absent"
	ProblemMemory       = "/problems/memory"
	ProblemUnavailable  = "/problems/unavailable"
	ProblemTime         = "/problems/time"
	ProblemInternal     = "/problems/internal"
)

// NewProblem returns a problem with the usual title of its status.
func NewProblem(status int, kind, detail string) *Problem {
	return &Problem{Type: kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return strconv.Itoa(p.Status) + " " + p.Title
}
