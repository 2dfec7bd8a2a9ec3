// Package web serves what a daemon knows over HTTP: the API that docs/openapi.yaml
// describes, a start page, metrics and health.
//
// It owns who may ask (token, session, Host, origin), how much may be asked at a
// time, and the form of answers. What it answers with is handed to it as small
// interfaces; it never sees a source, the tracker or an engine.
package web
