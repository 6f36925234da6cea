package command_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"
)

// reach is a connection to an address, with a login by password unless the given properties say otherwise. A login
// that fails is not tried again unless they say so.
func reach(t *testing.T, address string, more props) props {
	t.Helper()
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseFloat(portText, 64)
	if err != nil {
		t.Fatal(err)
	}
	return with(props{
		"host": val(host), "port": val(port), "user": val(sshUser), "password": secret(sshPassword), "dialErrorLimit": val(0.),
	}, more)
}

func (s *sshServer) reach(more props) props { return reach(s.t, s.address, more) }

// on makes the inputs of a resource that uses a connection, secret as a whole as every SDK makes it.
func on(connection props, more props) props {
	return with(props{"connection": resource.MakeSecret(resource.NewProperty(connection))}, more)
}

func keyOnly(text string, more props) props {
	return with(props{"password": resource.NewNullProperty(), "privateKey": secret(text)}, more)
}

func TestRemoteCreate(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t, func(s *sshServer) { s.acceptEnv = []string{"A"} })
	for name, c := range map[string]struct {
		in             props
		stdout, stderr string
	}{
		"no command at all":      {props{}, "", ""},
		"both streams":           {props{"create": val("echo out; echo err >&2")}, "out", "err"},
		"stdin":                  {props{"create": val("cat"), "stdin": val("fed")}, "fed", ""},
		"no stdin":               {props{"create": val("cat; echo done")}, "done", ""},
		"stdin that is not read": {props{"create": val("echo ok"), "stdin": val(strings.Repeat("x", 8<<20))}, "ok", ""},
		"environment":            {props{"create": val("echo $A"), "environment": val(map[string]any{"A": "1"})}, "1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newEngine(t).resource(remoteCommand).create(on(s.reach(nil), c.in))
			r.expect(map[string]string{"stdout": c.stdout, "stderr": c.stderr})
		})
	}
}

func TestRemoteLogins(t *testing.T) {
	t.Parallel()
	signer, private := newKey(t)
	byKey := newSSHServer(t, acceptKey(signer.PublicKey()))
	byQuestion := newSSHServer(t, func(s *sshServer) {
		s.config.PasswordCallback = nil
		s.config.KeyboardInteractiveCallback = func(
			_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge,
		) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err == nil && (len(answers) != 1 || answers[0] != sshPassword) {
				err = fmt.Errorf("wrong answers")
			}
			return nil, err
		}
	})
	byPassword := newSSHServer(t)
	byEither := newSSHServer(t, func(s *sshServer) {
		password := s.config.PasswordCallback
		acceptKey(signer.PublicKey())(s)
		s.config.PasswordCallback = password
	})
	_, stranger := newKey(t)
	socket := newAgent(t, private)
	// As many keys as a server lets a client try, before it disconnects.
	var strangers []ed25519.PrivateKey
	for range 6 {
		_, key := newKey(t)
		strangers = append(strangers, key)
	}
	crowd := newAgent(t, strangers...)

	for name, c := range map[string]struct {
		connection props
		fails      []string
	}{
		"password":                        {byPassword.reach(nil), nil},
		"question":                        {byQuestion.reach(nil), nil},
		"key":                             {byKey.reach(keyOnly(privateKeyText(t, private, ""), nil)), nil},
		"key and password":                {byPassword.reach(props{"privateKey": secret(privateKeyText(t, private, ""))}), nil},
		"key and passphrase":              {byKey.reach(keyOnly(privateKeyText(t, private, "open"), props{"privateKeyPassword": secret("open")})), nil},
		"agent":                           {byKey.reach(props{"agentSocketPath": val(socket)}), nil},
		"password before a crowded agent": {byEither.reach(props{"agentSocketPath": val(crowd)}), nil},
		"key before a crowded agent": {
			byKey.reach(keyOnly(privateKeyText(t, private, ""), props{"agentSocketPath": val(crowd)})), nil,
		},
		"wrong key, then password, with a crowded agent": {
			byEither.reach(props{"privateKey": secret(privateKeyText(t, stranger, "")), "agentSocketPath": val(crowd)}), nil,
		},
		"wrong password, then agent": {
			byEither.reach(props{"password": secret("wrong-word"), "agentSocketPath": val(socket)}), nil,
		},
		// To SSH both are one method, which is tried once.
		"wrong key, and no agent after it": {
			byKey.reach(keyOnly(privateKeyText(t, stranger, ""), props{"agentSocketPath": val(socket)})),
			[]string{"unable to authenticate"},
		},
		"wrong password":   {byPassword.reach(props{"password": secret("wrong-word")}), []string{"unable to authenticate", byPassword.address}},
		"wrong user":       {byPassword.reach(props{"user": resource.NewNullProperty()}), []string{"unable to authenticate"}},
		"wrong key":        {byKey.reach(keyOnly(privateKeyText(t, stranger, ""), nil)), []string{"unable to authenticate"}},
		"wrong passphrase": {byKey.reach(keyOnly(privateKeyText(t, private, "open"), props{"privateKeyPassword": secret("shut")})), []string{"privateKey", "incorrect"}},
		"no key":           {byKey.reach(keyOnly("not a key", nil)), []string{"privateKey", "no key found"}},
		"no agent":         {byKey.reach(props{"agentSocketPath": val("/no/agent")}), []string{"SSH agent", "/no/agent"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newEngine(t).resource(remoteCommand)
			err := r.tryCreate(t.Context(), on(c.connection, props{"create": val("echo in")}))
			if c.fails != nil {
				mustContain(t, err, c.fails...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.expect(map[string]string{"stdout": "in"})
		})
	}
}

func TestRemoteHostKey(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	line := func(key ssh.PublicKey) value { return val(string(ssh.MarshalAuthorizedKey(key))) }
	in := func(key value) props { return on(s.reach(props{"hostKey": key}), props{"create": val("echo in")}) }
	newEngine(t).resource(remoteCommand).create(in(line(s.hostKey))).expect(map[string]string{"stdout": "in"})

	other, _ := newKey(t)
	err := newEngine(t).resource(remoteCommand).tryCreate(t.Context(), in(line(other.PublicKey())))
	mustContain(t, err, "host key mismatch", ssh.FingerprintSHA256(s.hostKey), ssh.FingerprintSHA256(other.PublicKey()))
	err = newEngine(t).resource(remoteCommand).tryCreate(t.Context(), in(val("nonsense")))
	mustContain(t, err, "hostKey", "ssh-ed25519")
	if logins, _ := s.counts(); logins != 1 {
		t.Errorf("%d logins, want only the one with the right host key", logins)
	}
}

func TestRemoteProxy(t *testing.T) {
	t.Parallel()
	target, bastion := newSSHServer(t), newSSHServer(t)
	through := func(proxy props) props {
		return target.reach(props{"proxy": resource.NewProperty(proxy)})
	}
	proxyKey := val(string(ssh.MarshalAuthorizedKey(bastion.hostKey)))
	r := newEngine(t).resource(remoteCommand).create(
		on(through(bastion.reach(props{"hostKey": proxyKey})), props{"create": val("echo in")}))
	r.expect(map[string]string{"stdout": "in"})
	if _, forwarded := bastion.counts(); forwarded != 1 {
		t.Errorf("the bastion forwarded %d connections, want 1", forwarded)
	}

	wrongKey := val(string(ssh.MarshalAuthorizedKey(target.hostKey)))
	err := newEngine(t).resource(remoteCommand).tryCreate(t.Context(),
		on(through(bastion.reach(props{"hostKey": wrongKey})), props{"create": val("echo in")}))
	mustContain(t, err, "proxy", "host key mismatch")
	err = newEngine(t).resource(remoteCommand).tryCreate(t.Context(),
		on(through(bastion.reach(props{"password": secret("wrong-word")})), props{"create": val("echo in")}))
	mustContain(t, err, "proxy", "unable to authenticate")
	err = newEngine(t).resource(remoteCommand).tryCreate(t.Context(),
		on(with(through(bastion.reach(nil)), props{"password": secret("wrong-word")}), props{"create": val("echo in")}))
	mustContain(t, err, "through proxy "+bastion.address, "unable to authenticate")
}

// freeAddress is a port that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestRemoteWaitsForTheServer(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	e := newEngine(t)
	r := e.resource(remoteCommand)
	done := make(chan error, 1)
	go func() {
		connection := reach(t, address, props{"dialErrorLimit": val(-1.)})
		done <- r.tryCreate(t.Context(), on(connection, props{"create": val("echo in")}))
	}()
	eventually(t, "a retry is shown", func() bool {
		shown := strings.Join(e.lines(), "\n")
		return strings.Contains(shown, address+": attempt 2 failed (limit unlimited), retrying") &&
			strings.Contains(shown, "connection refused")
	})
	newSSHServer(t, func(s *sshServer) { s.listen(address) })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.expect(map[string]string{"stdout": "in"})
}

func TestRemoteRetryLimit(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	connection := reach(t, freeAddress(t), props{"dialErrorLimit": val(2.)})
	err := e.resource(remoteCommand).tryCreate(t.Context(), on(connection, props{"create": val("echo in")}))
	mustContain(t, err, "after 3 failed attempts", "connection refused")
	if retries := len(e.lines()); retries != 2 {
		t.Errorf("%d retries were shown, want 2: %q", retries, e.lines())
	}
}

// A server that takes the connection and then says nothing must not hold the operation for ever.
func TestRemotePerDialTimeout(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	connection := reach(t, listener.Addr().String(), props{"perDialTimeout": val(1.)})
	err = newEngine(t).resource(remoteCommand).tryCreate(t.Context(), on(connection, props{"create": val("echo in")}))
	mustContain(t, err, "logging in took too long")
}

func TestRemoteCancelWhileConnecting(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		connection := reach(t, freeAddress(t), props{"dialErrorLimit": val(-1.)})
		done <- e.resource(remoteCommand).tryCreate(t.Context(), on(connection, props{"create": val("echo in")}))
	}()
	eventually(t, "a retry is shown", func() bool { return len(e.lines()) > 0 })
	if _, err := e.provider.Cancel(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, <-done, "context canceled", "connection refused")
}

func TestRemoteCancelEndsTheCommand(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	file := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		done <- e.resource(remoteCommand).tryCreate(ctx, on(s.reach(nil), props{"create": val(startsGroup(file))}))
	}()
	pids := readPids(t, file)
	cancel()
	mustContain(t, <-done, "context canceled")
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

func TestRemoteFailure(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	err := newEngine(t).resource(remoteCommand).tryCreate(t.Context(),
		on(s.reach(nil), props{"create": val("echo out; echo why >&2; exit 3")}))
	mustContain(t, err, "status 3", "out", "why", `running "echo out`)
	err = newEngine(t).resource(remoteCommand).tryCreate(t.Context(),
		on(s.reach(nil), props{"create": val("true"), "environment": val(map[string]any{"REFUSED": "1"})}))
	mustContain(t, err, `"REFUSED"`, "AcceptEnv")
}

func TestRemoteUpdateAndDelete(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	s := newSSHServer(t, func(s *sshServer) { s.acceptEnv = []string{"PULUMI_COMMAND_STDOUT", "PULUMI_COMMAND_STDERR"} })
	in := on(s.reach(nil), props{
		"create": val("echo made; echo warned >&2"),
		"update": val(`echo "$PULUMI_COMMAND_STDOUT:$PULUMI_COMMAND_STDERR"`),
		"delete": val(`echo "$PULUMI_COMMAND_STDOUT" > ` + mark),
	})
	r := newEngine(t).resource(remoteCommand).create(in)
	r.update(with(in, props{"logging": val("none")}))
	r.expect(map[string]string{"stdout": "made:warned", "stderr": ""})
	if err := r.delete(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(mark); err != nil || string(got) != "made:warned\n" {
		t.Errorf("the delete command left %q, %v", got, err)
	}
}

// Few servers accept the variables of the previous output, so going without is a warning.
func TestRemotePreviousOutputRefused(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	in := on(s.reach(nil), props{"create": val("echo one"), "update": val("echo ${PULUMI_COMMAND_STDOUT-unset}")})
	r := newEngine(t).resource(remoteCommand).create(in)
	r.update(with(in, props{"logging": val("none")}))
	r.expect(map[string]string{"stdout": "unset"})
	if shown := strings.Join(r.lines(), "\n"); !strings.Contains(shown, `"PULUMI_COMMAND_STDOUT"`) {
		t.Errorf("no warning was shown: %q", shown)
	}
}

func TestRemoteEnvironmentRefusedIsOneErrorWithTheRemedy(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	in := on(newSSHServer(t).reach(nil), props{"create": val("true"), "environment": val(map[string]any{"REFUSED": "1"})})
	mustContain(t, e.resource(remoteCommand).tryCreate(t.Context(), in), `"REFUSED"`, "AcceptEnv")
	if lines := e.lines(); len(lines) > 0 {
		t.Errorf("logged beside the error: %q", lines)
	}
}

func TestRemotePreviewConnectsNowhere(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	in := on(with(s.reach(nil), props{"host": unknown()}), props{"create": val("echo in")})
	if out := newEngine(t).resource(remoteCommand).previewCreate(in); !out["stdout"].IsComputed() {
		t.Errorf("stdout is %v, want it unknown", out["stdout"])
	}
	r := newEngine(t).resource(remoteCommand).create(on(s.reach(nil), props{"create": val("echo in")}))
	out, err := r.tryUpdate(on(s.reach(nil), props{"create": val("echo more")}), true)
	if err != nil || !out["stdout"].IsComputed() {
		t.Errorf("stdout is %v, %v, want it unknown", out["stdout"], err)
	}
	if logins, _ := s.counts(); logins != 1 {
		t.Errorf("%d logins, want 1", logins)
	}
}

func TestRemoteSecrets(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	// A client that is no SDK may send the connection in the clear.
	plain := s.reach(props{"password": val(sshPassword)})
	r := newEngine(t).resource(remoteCommand).create(props{
		"connection": resource.NewProperty(plain), "create": val("cat; echo " + sshPassword), "stdin": secret("fed-in-secret\n"),
	})
	for _, m := range []props{r.inputs, r.state} {
		connection := m["connection"]
		if !connection.IsSecret() || !connection.SecretValue().Element.ObjectValue()["password"].IsSecret() {
			t.Errorf("the connection is not secret: %v", connection)
		}
		if !m["stdin"].IsSecret() {
			t.Errorf("stdin is not secret: %v", m["stdin"])
		}
	}
	if shown := strings.Join(r.lines(), "\n"); shown != "[secret]\n[secret]" {
		t.Errorf("logged %q", shown)
	}
	err := newEngine(t).resource(remoteCommand).tryCreate(t.Context(), on(
		s.reach(nil), props{"create": val("exit 3"), "environment": resource.NewProperty(props{"TOKEN": secret("hush")})}))
	mustContain(t, err, "TOKEN")
}

func TestRemoteDefaults(t *testing.T) {
	t.Parallel()
	checked := newEngine(t).resource(remoteCommand).check(on(
		props{"host": val("h"), "proxy": resource.NewProperty(props{"host": val("p")})}, nil))
	connection := checked["connection"].SecretValue().Element.ObjectValue()
	for _, c := range []props{connection, connection["proxy"].ObjectValue()} {
		want := props{"user": val("root"), "port": val(22.), "dialErrorLimit": val(10.), "perDialTimeout": val(15.)}
		for k, v := range want {
			if !c[k].DeepEquals(v) {
				t.Errorf("%s defaults to %v, want %v", k, c[k], v)
			}
		}
	}
	_, failures := newEngine(t).resource(remoteCommand).tryCheck(on(props{"user": val("u")}, nil))
	if len(failures) != 1 || !strings.Contains(failures[0], "host") {
		t.Errorf("without a host the failures are %q", failures)
	}
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func expectFiles(t *testing.T, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if got, err := os.ReadFile(name); err != nil || string(got) != text {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, text)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCopyToRemote(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	src := t.TempDir()
	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB: many SFTP packets, written concurrently
	write(t, map[string]string{
		src + "/file": "one", src + "/large": large, src + "/tree/a": "A", src + "/tree/sub/b": "B",
	})
	file := func(name string) value {
		return resource.NewProperty(must[*resource.Asset](t)(resource.NewPathAsset(src + name)))
	}
	tree := func(name string) value {
		return resource.NewProperty(must[*resource.Archive](t)(resource.NewPathArchive(src + name)))
	}
	text := resource.NewProperty(must[*resource.Asset](t)(resource.NewTextAsset("words")))
	mixed := resource.NewProperty(must[*resource.Archive](t)(resource.NewAssetArchive(map[string]any{
		"x":      must[*resource.Asset](t)(resource.NewTextAsset("X")),
		"deep/y": must[*resource.Asset](t)(resource.NewPathAsset(src + "/file")),
	})))

	for name, c := range map[string]struct {
		source value
		there  map[string]string // files below the destination root before
		path   string            // below the destination root
		want   map[string]string // files below the destination root after
		fails  string
	}{
		"file, nothing there":        {file("/file"), nil, "/new", map[string]string{"/new": "one"}, ""},
		"file, no parents":           {file("/file"), nil, "/p/q/new", map[string]string{"/p/q/new": "one"}, ""},
		"file, over a longer file":   {file("/file"), map[string]string{"/old": "longer than one"}, "/old", map[string]string{"/old": "one"}, ""},
		"file, into a directory":     {file("/file"), map[string]string{"/d/x": "x"}, "/d", map[string]string{"/d/file": "one", "/d/x": "x"}, ""},
		"large file":                 {file("/large"), nil, "/large", map[string]string{"/large": large}, ""},
		"text":                       {text, nil, "/p/t", map[string]string{"/p/t": "words"}, ""},
		"text, into a directory":     {text, map[string]string{"/d/x": "x"}, "/d", nil, "is a directory"},
		"directory, nothing there":   {tree("/tree"), nil, "/new", map[string]string{"/new/tree/a": "A", "/new/tree/sub/b": "B"}, ""},
		"directory, into another":    {tree("/tree"), map[string]string{"/d/tree/a": "old", "/d/x": "x"}, "/d", map[string]string{"/d/tree/a": "A", "/d/tree/sub/b": "B", "/d/x": "x"}, ""},
		"directory/, nothing there":  {tree("/tree/"), nil, "/new", map[string]string{"/new/a": "A", "/new/sub/b": "B"}, ""},
		"directory/, into another":   {tree("/tree/"), map[string]string{"/d/x": "x"}, "/d", map[string]string{"/d/a": "A", "/d/sub/b": "B", "/d/x": "x"}, ""},
		"directory, over a file":     {tree("/tree"), map[string]string{"/f": "f"}, "/f", map[string]string{"/f": "f"}, "/f"},
		"directory/, over a file":    {tree("/tree/"), map[string]string{"/f": "f"}, "/f", map[string]string{"/f": "f"}, "not a directory"},
		"assets, nothing there":      {mixed, nil, "/new", map[string]string{"/new/x": "X", "/new/deep/y": "one"}, ""},
		"assets, into a directory":   {mixed, map[string]string{"/d/x": "old"}, "/d", map[string]string{"/d/x": "X", "/d/deep/y": "one"}, ""},
		"a parent that is no folder": {text, map[string]string{"/f": "f"}, "/f/t", map[string]string{"/f": "f"}, "/f"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			below := func(m map[string]string) map[string]string {
				all := map[string]string{}
				for k, v := range m {
					all[root+k] = v
				}
				return all
			}
			write(t, below(c.there))
			err := newEngine(t).resource(copyToRemote).tryCreate(t.Context(),
				on(s.reach(nil), props{"source": c.source, "remotePath": val(root + c.path)}))
			if c.fails != "" {
				mustContain(t, err, c.fails)
			} else if err != nil {
				t.Fatal(err)
			}
			expectFiles(t, below(c.want))
		})
	}
}

func TestCopyToRemoteUpdate(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	root := t.TempDir()
	source := func(text string) value {
		return resource.NewProperty(must[*resource.Asset](t)(resource.NewTextAsset(text)))
	}
	in := on(s.reach(nil), props{"source": source("one"), "remotePath": val(root + "/f")})
	r := newEngine(t).resource(copyToRemote)
	r.previewCreate(in)
	if logins, _ := s.counts(); logins != 0 {
		t.Fatal("a preview connected")
	}
	r.create(in)
	if got := r.diff(in); len(got) != 0 {
		t.Errorf("with nothing changed the diff is %v", got)
	}
	changed := with(in, props{"source": source("two")})
	if _, err := r.tryUpdate(changed, true); err != nil {
		t.Fatal(err)
	}
	expectFiles(t, map[string]string{root + "/f": "one"})
	r.update(changed)
	expectFiles(t, map[string]string{root + "/f": "two"})

	before, _ := s.counts()
	r.update(with(changed, on(s.reach(props{"perDialTimeout": val(7.)}), nil)))
	if after, _ := s.counts(); after != before {
		t.Error("a change of the connection alone copied the file again")
	}
	r.update(with(changed, props{"remotePath": val(root + "/g")}))
	expectFiles(t, map[string]string{root + "/g": "two"})
	if err := r.delete(); err != nil {
		t.Fatal(err)
	}
	expectFiles(t, map[string]string{root + "/g": "two"})
}

func TestCopyToRemoteCheck(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	r := newEngine(t).resource(copyToRemote)
	out := r.previewCreate(on(s.reach(nil), props{"source": unknown(), "remotePath": val("/x")}))
	if !out["source"].IsComputed() {
		t.Errorf("the source is %v, want it unknown", out["source"])
	}
	for _, in := range []props{{"remotePath": val("/x")}, {"remotePath": val("/x"), "source": val("a string")}} {
		if _, failures := r.tryCheck(on(s.reach(nil), in)); !strings.Contains(strings.Join(failures, "\n"), "source") {
			t.Errorf("%v: the failures are %q", in, failures)
		}
	}
}

func TestCopyFile(t *testing.T) {
	t.Parallel()
	s := newSSHServer(t)
	dir := t.TempDir()
	write(t, map[string]string{dir + "/f": "one"})
	in := on(s.reach(nil), props{"localPath": val(dir + "/f"), "remotePath": val(dir + "/g")})
	r := newEngine(t).resource(copyFile)
	r.previewCreate(in)
	r.create(in)
	expectFiles(t, map[string]string{dir + "/g": "one"})
	if got := r.diff(with(in, props{"remotePath": val(dir + "/h")})); got["remotePath"] != "UPDATE_REPLACE" {
		t.Errorf("another path is %v, want a replacement", got)
	}
	err := r.tryCreate(t.Context(), with(in, props{"localPath": val(dir + "/missing")}))
	mustContain(t, err, "missing")
}

// An interrupted copy must end at once, also while the server does not answer.
func TestCopyToRemoteCancel(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := newSSHServer(t, func(s *sshServer) { s.mute = asked })
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		asset := must[*resource.Asset](t)(resource.NewTextAsset("words"))
		done <- e.resource(copyToRemote).tryCreate(t.Context(),
			on(s.reach(nil), props{"source": resource.NewProperty(asset), "remotePath": val("/nowhere/to/be")}))
	}()
	<-asked
	if _, err := e.provider.Cancel(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, <-done, "context canceled", "starting SFTP")
}
