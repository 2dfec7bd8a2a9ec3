package tcp

//go:generate go run ./gen ../../docs/fields.md
