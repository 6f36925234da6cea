package local

import "syscall"

// processGroup makes the command the leader of a process group, so that ending it ends what it started. Should this
// plugin be killed, the kernel ends the command with it.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
