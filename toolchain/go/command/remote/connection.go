// Package remote runs commands and copies files over SSH: the resources command:remote:Command,
// command:remote:CopyToRemote and command:remote:CopyFile.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Defaults of the SDK, applied by it and, for other clients, by Check.
const (
	defaultUser           = "root"
	defaultPort           = 22
	defaultDialErrorLimit = 10
	defaultPerDialTimeout = 15 // seconds
	unlimitedDialErrors   = -1
)

// The pause between two attempts to connect: the first, its growth, and the most it grows to. With the default limit
// of ten failures a server has about eleven seconds to come up, not counting the attempts themselves.
const (
	firstPause  = 100 * time.Millisecond
	pauseGrowth = 1.5
	maxPause    = 5 * time.Second
)

// Endpoint is an SSH server and how to log in to it.
type Endpoint struct {
	User               *string  `pulumi:"user,optional"`
	Password           *string  `pulumi:"password,optional"           provider:"secret"`
	Host               string   `pulumi:"host"`
	Port               *float64 `pulumi:"port,optional"`
	PrivateKey         *string  `pulumi:"privateKey,optional"         provider:"secret"`
	PrivateKeyPassword *string  `pulumi:"privateKeyPassword,optional" provider:"secret"`
	AgentSocketPath    *string  `pulumi:"agentSocketPath,optional"`
	DialErrorLimit     *int     `pulumi:"dialErrorLimit,optional"`
	PerDialTimeout     *int     `pulumi:"perDialTimeout,optional"`
	HostKey            *string  `pulumi:"hostKey,optional"`
}

// Annotate describes the fields in the schema.
func (e *Endpoint) Annotate(a infer.Annotator) {
	a.Describe(&e.User, "The user to log in as, root by default.")
	a.SetDefault(&e.User, defaultUser)
	a.Describe(&e.Password, "The password to log in with.")
	a.Describe(&e.Host, "The name or address of the host.")
	a.Describe(&e.Port, "The port of the SSH server, 22 by default.")
	a.SetDefault(&e.Port, defaultPort)
	a.Describe(&e.PrivateKey, "The text of a private key to log in with. It is tried before the password.")
	a.Describe(&e.PrivateKeyPassword, "The passphrase of the private key, if it has one.")
	a.Describe(&e.AgentSocketPath, "The socket of an SSH agent; SSH_AUTH_SOCK by default, if set. Its keys are tried "+
		"after the password, and not where there is a private key.")
	a.Describe(&e.DialErrorLimit, "How many attempts to connect may fail before the operation does, 10 by default; "+
		"-1 for no limit.")
	a.SetDefault(&e.DialErrorLimit, defaultDialErrorLimit)
	a.Describe(&e.PerDialTimeout, "The seconds one attempt to connect may take, 15 by default; 0 for no limit.")
	a.SetDefault(&e.PerDialTimeout, defaultPerDialTimeout)
	a.Describe(&e.HostKey, "The public key of the host, as in a known_hosts or authorized_keys line. Without it any host "+
		"key is accepted.")
}

// Connection is a host, reached directly or by way of a bastion.
type Connection struct {
	Endpoint
	Proxy *ProxyConnection `pulumi:"proxy,optional"`
}

// Annotate describes the type in the schema.
func (c *Connection) Annotate(a infer.Annotator) {
	a.Describe(&c, "How to reach and log in to a host.")
	a.Describe(&c.Proxy, "The bastion to go through.")
}

// ProxyConnection is the bastion.
type ProxyConnection struct{ Endpoint }

// Annotate describes the type in the schema.
func (c *ProxyConnection) Annotate(a infer.Annotator) {
	a.Describe(&c, "How to reach and log in to a bastion.")
}

func valueOr[T any](v *T, otherwise T) T {
	if v != nil {
		return *v
	}
	return otherwise
}

func (e *Endpoint) address() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(valueOr(e.Port, defaultPort))))
}

// dialContext opens a connection for the SSH protocol to run on.
type dialContext func(ctx context.Context, network, address string) (net.Conn, error)

// Dial connects and logs in. The caller closes the client.
func (c *Connection) Dial(ctx context.Context) (*ssh.Client, error) {
	if c.Proxy == nil {
		return c.dial(ctx, "host", (&net.Dialer{}).DialContext)
	}
	bastion, err := c.Proxy.dial(ctx, "proxy", (&net.Dialer{}).DialContext)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	client, err := c.dial(ctx, "host through proxy", bastion.DialContext)
	if err != nil {
		_ = bastion.Close()
		return nil, fmt.Errorf("through proxy %s: %w", c.Proxy.address(), err)
	}
	go func() {
		_ = client.Wait() // however the connection ended, the bastion is no longer needed
		_ = bastion.Close()
	}()
	return client, nil
}

// dial attempts to connect until it works, too many attempts failed, or the context ends. Every kind of failure is
// tried again: a host that boots refuses connections first, then logins, and may start with another host key.
func (e *Endpoint) dial(ctx context.Context, what string, open dialContext) (*ssh.Client, error) {
	config, closeAgent, err := e.clientConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer closeAgent()

	limit := valueOr(e.DialErrorLimit, defaultDialErrorLimit)
	limitText := strconv.Itoa(limit)
	if limit == unlimitedDialErrors {
		limitText = "unlimited"
	}
	pause := firstPause
	var last error
	for failures := 1; ; failures++ {
		client, err := e.attempt(ctx, config, open)
		if err == nil {
			return client, nil
		}
		if ctx.Err() != nil {
			// The attempt that was cut off says only that; the one before it says what was wrong.
			err = cmp.Or(last, err)
			return nil, fmt.Errorf("connecting to %s %s: %w; last attempt: %w", what, e.address(), context.Cause(ctx), err)
		}
		last = err
		if limit > unlimitedDialErrors && failures > limit {
			return nil, fmt.Errorf("connecting to %s %s: after %d failed attempts: %w", what, e.address(), failures, err)
		}
		p.GetLogger(ctx).InfoStatusf("Connecting to %s %s: attempt %d failed (limit %s), retrying: %v",
			what, e.address(), failures, limitText, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(time.Duration(float64(pause)*pauseGrowth), maxPause)
	}
}

// attempt connects and logs in once, within the time for one attempt.
func (e *Endpoint) attempt(ctx context.Context, config *ssh.ClientConfig, open dialContext) (*ssh.Client, error) {
	if seconds := valueOr(e.PerDialTimeout, defaultPerDialTimeout); seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
	}
	conn, err := open(ctx, "tcp", e.address())
	if err != nil {
		return nil, err
	}
	// A connection through a bastion has no deadlines, so closing is the one way to end a login that hangs.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, e.address(), config)
	if !stop() && ctx.Err() != nil {
		err = fmt.Errorf("logging in took too long: %w", errors.Join(context.Cause(ctx), err))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(sshConn, channels, requests), nil
}

// clientConfig gathers the ways to log in. The agent is asked while logging in, so it is closed after that.
func (e *Endpoint) clientConfig(ctx context.Context) (*ssh.ClientConfig, func(), error) {
	config := &ssh.ClientConfig{User: valueOr(e.User, defaultUser)}
	if e.HostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.HostKey))
		if err != nil {
			return nil, nil, fmt.Errorf("hostKey: %w; give the type and the base64 text, as in \"ssh-ed25519 AAAA…\"", err)
		}
		config.HostKeyCallback = fixedHostKey(key)
		config.HostKeyAlgorithms = hostKeyAlgorithms(key)
	} else {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey() // the SDK's documented default
	}

	// The official plugin's order: a server that disconnects after a few tries must not meet all keys of an agent first.
	// The client tries each method once, so where there is a private key the agent's are not tried at all.
	if e.PrivateKey != nil {
		signer, err := e.signer()
		if err != nil {
			return nil, nil, fmt.Errorf("privateKey: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if e.Password != nil {
		password := *e.Password
		config.Auth = append(config.Auth, ssh.Password(password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = password
				}
				return answers, nil
			}))
	}
	agentClient, closeAgent, err := e.agent(ctx)
	if err != nil {
		return nil, nil, err
	}
	if agentClient != nil {
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			signers, err := agentClient.Signers()
			if err != nil {
				return nil, fmt.Errorf("SSH agent: %w", err)
			}
			return signers, nil
		}))
	}
	return config, closeAgent, nil
}

func (e *Endpoint) signer() (ssh.Signer, error) {
	if e.PrivateKeyPassword != nil {
		return ssh.ParsePrivateKeyWithPassphrase([]byte(*e.PrivateKey), []byte(*e.PrivateKeyPassword))
	}
	return ssh.ParsePrivateKey([]byte(*e.PrivateKey))
}

// agent connects to the SSH agent, if there is one. An agent that the environment names but that is gone (a stale
// SSH_AUTH_SOCK) matters only to a connection that has no other way to log in.
func (e *Endpoint) agent(ctx context.Context) (agent.ExtendedAgent, func(), error) {
	path := valueOr(e.AgentSocketPath, os.Getenv("SSH_AUTH_SOCK"))
	if path == "" {
		return nil, func() {}, nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		if e.AgentSocketPath == nil && (e.PrivateKey != nil || e.Password != nil) {
			p.GetLogger(ctx).Debugf("SSH_AUTH_SOCK names an agent that does not answer, going on without it: %v", err)
			return nil, func() {}, nil
		}
		return nil, nil, fmt.Errorf("SSH agent: %w", err)
	}
	return agent.NewClient(conn), func() { _ = conn.Close() }, nil
}

func fixedHostKey(want ssh.PublicKey) ssh.HostKeyCallback {
	fixed := ssh.FixedHostKey(want)
	return func(hostname string, remote net.Addr, got ssh.PublicKey) error {
		if err := fixed(hostname, remote, got); err != nil {
			return fmt.Errorf("host key mismatch: hostKey is %s %s, the host has %s %s: %w",
				want.Type(), ssh.FingerprintSHA256(want), got.Type(), ssh.FingerprintSHA256(got), err)
		}
		return nil
	}
}

// hostKeyAlgorithms makes the host show its key of the expected type. An RSA key is used with several signature
// algorithms, of which the old SHA-1 one is refused by current servers.
func hostKeyAlgorithms(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	return []string{key.Type()}
}
