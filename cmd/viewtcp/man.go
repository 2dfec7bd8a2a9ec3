package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(e env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [COMMAND]",
		Short: "Print the manual page of a command, or write all of them",
		Example: `  viewtcp man | man -l -
  viewtcp man list | man -l -
  viewtcp man --dir /usr/local/share/man/man1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			header := &doc.GenManHeader{Title: "VIEWTCP", Section: "1", Source: "ViewTCP " + readBuild().Version, Manual: "ViewTCP"}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if dir != "" {
				if len(args) > 0 {
					return usagef("man: --dir writes all pages and takes no command")
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return fmt.Errorf("writing manual pages: %w", err)
				}
				return doc.GenManTree(root, header, dir)
			}
			page, _, err := root.Find(args)
			if err != nil || (len(args) > 0 && page == root) {
				return usagef("man: no command %q", args)
			}
			if page != root {
				header.Title = strings.ToUpper("viewtcp-" + page.Name())
			}
			return doc.GenMan(page, header, e.stdout)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write the pages of all commands into this directory")
	return cmd
}
