//go:build unix && !linux

package local

import "syscall"

// processGroup makes the command the leader of a process group, so that ending it ends what it started.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
