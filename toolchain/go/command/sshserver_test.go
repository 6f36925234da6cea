package command_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// sshServer is a real SSH server on the loopback: it runs commands with /bin/sh, serves files over SFTP, and forwards
// connections.
type sshServer struct {
	t         *testing.T
	config    *ssh.ServerConfig
	hostKey   ssh.PublicKey
	acceptEnv []string
	mute      chan struct{} // where set, SFTP is accepted, never answered, and this is closed

	address string
	mu      sync.Mutex
	logins  int
	forward int // connections forwarded
}

const sshUser, sshPassword = "operator", "correct-horse-battery"

func newKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, private
}

// privateKeyText is the key as a person would keep it in a file, under a passphrase unless that is empty.
func privateKeyText(t *testing.T, key ed25519.PrivateKey, passphrase string) string {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func newSSHServer(t *testing.T, configure ...func(*sshServer)) *sshServer {
	t.Helper()
	host, _ := newKey(t)
	s := &sshServer{t: t, hostKey: host.PublicKey(), config: &ssh.ServerConfig{
		PasswordCallback: func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if meta.User() == sshUser && string(password) == sshPassword {
				return nil, nil
			}
			return nil, errors.New("wrong user or password")
		},
	}}
	s.config.AddHostKey(host)
	for _, c := range configure {
		c(s)
	}
	if s.address == "" {
		s.listen("127.0.0.1:0")
	}
	return s
}

// acceptKey lets a key in, and only that.
func acceptKey(key ssh.PublicKey) func(*sshServer) {
	return func(s *sshServer) {
		s.config.PasswordCallback = nil
		s.config.PublicKeyCallback = func(_ ssh.ConnMetadata, got ssh.PublicKey) (*ssh.Permissions, error) {
			if slices.Equal(got.Marshal(), key.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("unknown key")
		}
	}
}

// newAgent is an SSH agent that holds the keys; it returns its socket.
func newAgent(t *testing.T, keys ...ed25519.PrivateKey) string {
	t.Helper()
	keyring := agent.NewKeyring()
	for _, key := range keys {
		if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			go func() { _ = agent.ServeAgent(keyring, conn) }()
		}
	}()
	return socket
}

func (s *sshServer) listen(address string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = listener.Addr().String()
	s.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			go s.serve(conn)
		}
	}()
}

func (s *sshServer) serve(conn net.Conn) {
	defer conn.Close()
	server, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // a failed login, which the client reports
	}
	defer server.Close()
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			go s.session(channel)
		case "direct-tcpip":
			go s.forwardTo(channel)
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "")
		}
	}
}

func (s *sshServer) session(channel ssh.NewChannel) {
	stream, requests, err := channel.Accept()
	if err != nil {
		return
	}
	defer stream.Close()
	var env []string
	var cmd *exec.Cmd
	ended := make(chan uint32, 1)
	for {
		select {
		case status := <-ended:
			_, _ = stream.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
			return
		case req, ok := <-requests:
			if !ok {
				return
			}
			accepted := true
			switch req.Type {
			case "env":
				var variable struct{ Name, Value string }
				accepted = ssh.Unmarshal(req.Payload, &variable) == nil && slices.Contains(s.acceptEnv, variable.Name)
				if accepted {
					env = append(env, variable.Name+"="+variable.Value)
				}
			case "exec":
				var command struct{ Text string }
				if accepted = ssh.Unmarshal(req.Payload, &command) == nil; accepted {
					cmd = s.start(command.Text, env, stream, ended)
				}
			case "signal":
				if cmd != nil {
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
				}
			case "subsystem":
				if s.mute != nil {
					close(s.mute)
					break
				}
				files, err := sftp.NewServer(stream)
				if accepted = err == nil; accepted {
					go func() {
						_ = files.Serve()
						ended <- 0
					}()
				}
			default:
				accepted = false
			}
			if req.WantReply {
				_ = req.Reply(accepted, nil)
			}
		}
	}
}

func (s *sshServer) start(command string, env []string, stream ssh.Channel, ended chan<- uint32) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = stream, stream.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Errorf("the server: %v", err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		s.t.Errorf("the server: %v", err)
		return nil
	}
	go func() {
		_, _ = io.Copy(stdin, stream)
		_ = stdin.Close()
	}()
	go func() {
		err := cmd.Wait()
		var exit *exec.ExitError
		switch {
		case err == nil:
			ended <- 0
		case errors.As(err, &exit) && exit.ExitCode() >= 0:
			ended <- uint32(exit.ExitCode())
		default:
			ended <- 255
		}
	}()
	return cmd
}

func (s *sshServer) forwardTo(channel ssh.NewChannel) {
	var target struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(channel.ExtraData(), &target); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	address := net.TCPAddr{IP: net.ParseIP(target.Host), Port: int(target.Port)}
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address.String())
	if err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	stream, requests, err := channel.Accept()
	if err != nil {
		return
	}
	defer stream.Close()
	go ssh.DiscardRequests(requests)
	s.mu.Lock()
	s.forward++
	s.mu.Unlock()
	done := make(chan struct{}, 2)
	for from, to := range map[io.Reader]io.Writer{stream: conn, conn: stream} {
		go func() {
			_, _ = io.Copy(to, from)
			done <- struct{}{}
		}()
	}
	<-done
}

func (s *sshServer) counts() (logins, forwarded int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, s.forward
}
