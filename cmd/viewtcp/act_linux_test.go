package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// actVariable makes this program an actor: a command line that run starts, so
// that it must need neither configuration nor a parent. It holds the act, and
// the address to connect to after it.
const actVariable = "VIEWTCP_TEST_ACT"

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func playAct() (code int, is bool) {
	act, to, _ := strings.Cut(os.Getenv(actVariable), " ")
	if act == "" {
		return 0, false
	}
	if err := perform(act, to); err != nil {
		fmt.Fprintln(os.Stderr, "act:", err)
		return 1, true
	}
	return 7, true // a code that nothing else has
}

// perform plays an act. "tree" connects, lets a child connect, and lets a
// grandchild whose parent is gone connect; "once" connects; "wait" connects and
// sleeps until a signal; "orphan" leaves a process behind that lives on.
func perform(act, to string) error {
	if act == "sleep" {
		time.Sleep(5 * time.Second)
		return nil
	}
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, act+"\n"); err != nil {
		return err
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return err
	}
	switch act {
	case "tree":
		if err := again("once "+to, true); err != nil {
			return err
		}
		return again("middle "+to, true)
	case "middle":
		// Ends before its child, which so loses its parent and its session.
		return again("late "+to, false)
	case "wait":
		fmt.Println("waiting")
		time.Sleep(patience)
	}
	return nil
}

// again starts this program in another act.
func again(act string, wait bool) error {
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // ends by itself
	cmd.Env = append(os.Environ(), actVariable+"="+act)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil || !wait {
		return err
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		return fmt.Errorf("act %q ended with code %d", act, code)
	}
	return nil
}
