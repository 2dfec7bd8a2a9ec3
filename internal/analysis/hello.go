package analysis

import "encoding/binary"

// RFC 8446: the record layer (section 5.1) and the handshake (section 4).
const (
	recordHandshake = 22
	recordHead      = 5
	recordMax       = 1<<14 + 256 // payload of a record, protection included
	handshakeHead   = 4
	clientHello     = 1
	extensionName   = 0      // server_name, RFC 6066
	extensionALPN   = 16     // RFC 7301
	extensionECH    = 0xfe0d // encrypted_client_hello, RFC 9849
	hostName        = 0      // RFC 6066: the only type of name
	helloFixed      = 2 + 32 // version and random
)

// joinHello returns the ClientHello that the records at the start of b carry,
// without record and handshake headers; it is empty for what is no ClientHello.
// It may be spread over several records; only then is it copied. hello is what
// there is of it, and want the length of b that will have more; 0 is none, because
// the hello is whole or what follows is no part of it.
func joinHello(b []byte) (hello []byte, want int) {
	var message []byte
	need := handshakeHead
	for at := 0; ; {
		rest := b[at:]
		switch {
		case len(rest) > 0 && rest[0] != recordHandshake, len(rest) > 1 && rest[1] != 3:
			return body(message), 0
		case len(rest) < recordHead:
			return body(message), at + recordHead
		}
		n := int(binary.BigEndian.Uint16(rest[3:]))
		if n == 0 || n > recordMax {
			return body(message), 0
		}
		part := rest[recordHead:min(len(rest), recordHead+n)]
		if message == nil {
			message = part[:len(part):len(part)]
		} else {
			message = append(message, part...)
		}
		if len(message) > 0 && message[0] != clientHello {
			return nil, 0
		}
		if len(message) >= handshakeHead {
			need = handshakeHead + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
			if len(message) >= need {
				return message[handshakeHead:need], 0
			}
		}
		if len(part) < n {
			// The rest of this record, or less if the hello ends within it.
			return body(message), at + recordHead + min(n, len(part)+need-len(message))
		}
		at += recordHead + n
	}
}

// body takes the handshake header off.
func body(message []byte) []byte { return message[min(len(message), handshakeHead):] }

// A field is what is left to read of a structure; every read past its end
// leaves it empty.
type field []byte

func (f *field) skip(n int) bool {
	if len(*f) < n {
		*f = nil
		return false
	}
	*f = (*f)[n:]
	return true
}

func (f *field) uint8() int {
	b := *f
	if !f.skip(1) {
		return 0
	}
	return int(b[0])
}

func (f *field) uint16() int {
	b := *f
	if !f.skip(2) {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

// next takes n bytes; whole is false when there are fewer.
func (f *field) next(n int) (b field, whole bool) {
	b = *f
	if !f.skip(n) {
		return b, false
	}
	return b[:n], true
}

// parseClientHello reads the names of a ClientHello (RFC 8446, section 4.1.2;
// older versions have the same form). A hello that is cut short gives the names
// that lie before the cut.
func parseClientHello(hello []byte, names *Names) {
	f := field(hello)
	f.skip(helloFixed)
	f.skip(f.uint8())  // session
	f.skip(f.uint16()) // cipher suites
	f.skip(f.uint8())  // compression methods
	extensions, _ := f.next(f.uint16())
	for len(extensions) >= 4 {
		kind := extensions.uint16()
		body, whole := extensions.next(extensions.uint16())
		switch {
		case kind == extensionECH:
			names.ECH = true
		case !whole:
		case kind == extensionName && names.SNI == "":
			names.SNI = serverName(body)
		case kind == extensionALPN && names.ALPN == "":
			names.ALPN = protocols(body)
		}
	}
}

// serverName reads a ServerNameList: the first host name of it.
func serverName(f field) string {
	list, _ := f.next(f.uint16())
	for len(list) > 0 {
		kind := list.uint8()
		name, whole := list.next(list.uint16())
		if whole && kind == hostName && len(name) <= nameText {
			return string(name)
		}
	}
	return ""
}

// protocols reads a ProtocolNameList. Names of grease (RFC 8701) are left out,
// and so is what would make the text too long.
func protocols(f field) string {
	list, _ := f.next(f.uint16())
	var text []byte
	for len(list) > 0 {
		name, whole := list.next(list.uint8())
		if !whole || len(name) == 0 || grease(name) {
			continue
		}
		if len(text)+1+len(name) > nameText {
			break
		}
		if len(text) > 0 {
			text = append(text, ',')
		}
		text = append(text, name...)
	}
	return string(text)
}

// grease reports whether a protocol is one of the values that mean nothing:
// 0x0a0a, 0x1a1a and so on to 0xfafa.
func grease(name []byte) bool {
	return len(name) == 2 && name[0] == name[1] && name[0]&0x0f == 0x0a
}
