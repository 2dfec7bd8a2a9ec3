package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// Proof is what one who knows the token answers to a challenge. A client asks for
// it before it sends the token to an address that another program may have taken
// over since the daemon ended.
func Proof(token, challenge string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("viewtcp readyz\n" + challenge))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Probe is the answer of /healthz and /readyz.
type Probe struct {
	// Status is "ok" for /healthz, and "ready" or "starting" for /readyz.
	Status string `json:"status"`
	// Proof answers a challenge.
	Proof string `json:"proof,omitempty"`
}
