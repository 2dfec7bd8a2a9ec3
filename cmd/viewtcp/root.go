package main

import (
	"github.com/spf13/cobra"
)

// newRoot assembles the command tree.
func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "viewtcp",
		Short: "See every TCP connection of this host, and why it is slow",
		Long: `ViewTCP shows every TCP connection of a host with its process, exact bytes,
round-trip time, retransmissions and windows, from SYN to CLOSED.

Filters are one language everywhere: ss, tcpdump and Wireshark forms and every
field, as in
  viewtcp list state established and dport = :443
  viewtcp list 'process ~ "^nginx" and rtt > 50ms'
  viewtcp watch host 192.0.2.7 and port 443`,
		Args: noArgs,
		// As cobra's own, which counts only where it looks for suggestions itself.
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: false},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return bare(e, cmd) },
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newTop(e), newList(e), newWatch(e), newHistoryCommand(e), newMark(e), newBundle(e), newAnalyze(e), newCapture(e), newExport(e), newExtcap(e), newRun(e), newClose(e), newDoctor(e), newCollector(e),
		newServe(e), newVersion(e), newMan(e),
	)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Print the completion script of a shell"
		}
	}
	return root
}

// noArgs refuses arguments and suggests the command that was meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		return usagef("unknown command %q: did you mean %q? (viewtcp --help lists all)", args[0], s[0])
	}
	return usagef("unknown command or argument %q (%s --help says what there is)", args[0], cmd.CommandPath())
}
