package bpf

//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -tags linux -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" collector bpf/collector.bpf.c
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -tags linux -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" cutoff bpf/cutoff.bpf.c
