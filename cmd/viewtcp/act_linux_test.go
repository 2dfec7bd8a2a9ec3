package main

import (
	"bufio"
	"errors"
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
// that it must need neither configuration nor a parent. It holds the act and the
// address to connect to after it.
const (
	actVariable = "VIEWTCP_TEST_ACT"
	// markVariable names the file that the last actor of a tree makes.
	markVariable = "VIEWTCP_TEST_MARK"
	// holdVariable is how long actors keep their connections.
	holdVariable = "VIEWTCP_TEST_HOLD"
)

// actCode is an exit code that nothing else has.
const actCode = 7

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
	return actCode, true
}

// perform plays an act: "once" connects; "tree" does, and lets a child do it and
// a grandchild whose parent is gone; "wait" connects and waits for a signal;
// "orphan" leaves a process behind.
func perform(act, to string) error {
	switch act {
	case "sleep":
		time.Sleep(2 * time.Second)
		return nil
	case "orphan":
		return again("sleep", false)
	case "hostile":
		return playHostile(to)
	}
	if err := talk(act, to); err != nil {
		return err
	}
	switch act {
	case "tree":
		if err := again("once "+to, true); err != nil {
			return err
		}
		if err := again("middle "+to, true); err != nil {
			return err
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); waitABit() {
			if _, err := os.Stat(os.Getenv(markVariable)); err == nil {
				return nil
			}
		}
		return errors.New("the grandchild does not come")
	case "middle":
		// Ends before its child, which so loses its parent.
		return again("late "+to, false)
	case "late":
		return os.WriteFile(os.Getenv(markVariable), nil, 0o600)
	}
	return nil
}

// talk sends the act's name over a connection and reads it back.
func talk(act, to string) error {
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
	if act == "wait" {
		fmt.Println("waiting")
		time.Sleep(patience)
	}
	hold, _ := time.ParseDuration(os.Getenv(holdVariable))
	time.Sleep(hold)
	return nil
}

// again starts this program in another act, in a session of its own.
func again(act string, wait bool) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actVariable+"="+act)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil || !wait {
		return err
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != actCode {
		return fmt.Errorf("act %q ended with code %d", act, code)
	}
	return nil
}
