package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

func TestLocalCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		in             props
		stdout, stderr string
	}{
		"no command at all":      {props{}, "", ""},
		"both streams":           {props{"create": val("echo out; echo err >&2")}, "out", "err"},
		"only the last newline":  {props{"create": val(`printf ' a\n\nb\n\n'`)}, " a\n\nb\n", ""},
		"stdin":                  {props{"create": val("cat"), "stdin": val("fed\n")}, "fed", ""},
		"no stdin":               {props{"create": val("cat; echo done")}, "done", ""},
		"stdin that is not read": {props{"create": val("echo ok"), "stdin": val(strings.Repeat("x", 1<<20))}, "ok", ""},
		"environment":            {props{"create": val("echo $A-$B"), "environment": val(map[string]any{"A": "1", "B": "2"})}, "1-2", ""},
		"directory":              {props{"create": val("pwd"), "dir": val(dir)}, dir, ""},
		"interpreter":            {props{"create": val("b c"), "interpreter": list("/bin/echo", "a")}, "a b c", ""},
		"empty interpreter":      {props{"create": val("echo sh"), "interpreter": val([]any{})}, "sh", ""},
		"bytes that are no text": {props{"create": val(`printf 'a\377b'`)}, "a\uFFFDb", ""},
		"no previous output":     {props{"create": val("echo ${PULUMI_COMMAND_STDOUT-unset}")}, "unset", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newEngine(t).resource(localCommand).create(c.in)
			r.expect(map[string]string{"stdout": c.stdout, "stderr": c.stderr})
			if !strings.HasPrefix(r.id, "it") {
				t.Errorf("the id is %q, want one that starts with the name of the resource", r.id)
			}
			for k, v := range c.in {
				if !r.state[k].DeepEquals(v) {
					t.Errorf("the state has %s = %v, want the input %v", k, r.state[k], v)
				}
			}
		})
	}
}

func TestLocalPreviewRunsNothing(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	in := props{"create": val("touch " + mark), "update": val("touch " + mark), "stdin": unknown()}
	r := newEngine(t).resource(localCommand)
	out := r.previewCreate(in)
	for _, name := range []resource.PropertyKey{"stdout", "stderr", "stdin"} {
		if !out[name].IsComputed() {
			t.Errorf("at a preview of create, %s is %v, want it unknown", name, out[name])
		}
	}
	if !out["create"].IsString() {
		t.Errorf("at a preview of create, the input create is %v, want it known", out["create"])
	}

	r.create(props{"create": val("echo one")})
	out, err := r.tryUpdate(in, true)
	if err != nil {
		t.Fatal(err)
	}
	if !out["stdout"].IsComputed() {
		t.Errorf("at a preview of update, stdout is %v, want it unknown", out["stdout"])
	}
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Error("a preview ran the command")
	}
}

func TestLocalUpdate(t *testing.T) {
	t.Parallel()
	show := `echo "$STEP:$PULUMI_COMMAND_STDOUT:$PULUMI_COMMAND_STDERR"`
	step := func(name string) value { return val(map[string]any{"STEP": name}) }

	r := newEngine(t).resource(localCommand)
	first := props{"create": val("echo made; echo warned >&2"), "update": val(show), "environment": step("1")}
	r.create(first)
	r.update(with(first, props{"environment": step("2")}))
	r.expect(map[string]string{"stdout": "2:made:warned", "stderr": ""})
	r.update(with(first, props{"environment": step("3"), "addPreviousOutputInEnv": val(false)}))
	r.expect(map[string]string{"stdout": "3::"})

	r = newEngine(t).resource(localCommand).create(props{"create": val(show), "environment": step("1")})
	r.update(props{"create": val(show), "environment": step("2")})
	r.expect(map[string]string{"stdout": "2:1:::"})

	r = newEngine(t).resource(localCommand).create(props{"create": val("echo kept")})
	r.update(props{"environment": step("2")})
	r.expect(map[string]string{"stdout": "kept"})
}

func TestLocalUpdateFailureKeepsState(t *testing.T) {
	t.Parallel()
	r := newEngine(t).resource(localCommand).create(props{"create": val("echo good")})
	_, err := r.tryUpdate(props{"create": val("echo bad; exit 4")}, false)
	mustContain(t, err, "exit status 4", "bad")
	r.expect(map[string]string{"stdout": "good"})
}

func TestLocalDiff(t *testing.T) {
	t.Parallel()
	base := props{"create": val("true"), "triggers": list("a", 1), "stdin": secret("s")}
	r := newEngine(t).resource(localCommand).create(base)
	for name, c := range map[string]struct {
		in   props
		want map[string]string
	}{
		"nothing":          {base, map[string]string{}},
		"another input":    {with(base, props{"create": val("false")}), map[string]string{"create": "UPDATE"}},
		"a secret":         {with(base, props{"stdin": secret("t")}), map[string]string{"stdin": "UPDATE"}},
		"a trigger":        {with(base, props{"triggers": list("b", 1)}), map[string]string{"triggers[0]": "UPDATE"}},
		"one more trigger": {with(base, props{"triggers": list("a", 1, "c")}), map[string]string{"triggers[2]": "ADD"}},
		"no triggers": {
			props{"create": val("true"), "stdin": secret("s")}, map[string]string{"triggers": "DELETE_REPLACE"},
		},
	} {
		// A changed trigger replaces because every SDK sets replaceOnChanges to "triggers[*]": those are the paths.
		if got := r.diff(c.in); !maps.Equal(got, c.want) {
			t.Errorf("%s: the diff is %v, want %v", name, got, c.want)
		}
	}
}

func TestLocalDelete(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	r := newEngine(t).resource(localCommand).create(props{
		"create": val("echo made"), "delete": val(`cat > "$MARK"; echo "$PULUMI_COMMAND_STDOUT" >> "$MARK"`),
		"stdin": val("in,"), "environment": val(map[string]any{"MARK": mark}),
	})
	if err := r.delete(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(mark); err != nil || string(got) != "in,made\n" {
		t.Errorf("the delete command left %q, %v", got, err)
	}
	if err := newEngine(t).resource(localCommand).create(props{"create": val("exit 0")}).delete(); err != nil {
		t.Errorf("without a delete command: %v", err)
	}
	r = newEngine(t).resource(localCommand).create(props{"delete": val("echo stuck >&2; exit 9")})
	mustContain(t, r.delete(), "exit status 9", "stuck")
}

func TestLocalFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   props
		want []string
	}{
		"exit status":    {props{"create": val("echo out; echo why >&2; exit 3")}, []string{"exit status 3", "why", "out", `running "echo out`}},
		"signal":         {props{"create": val("kill -9 $$")}, []string{"signal: killed"}},
		"no such dir":    {props{"create": val("true"), "dir": val("/no/such/dir")}, []string{"/no/such/dir", "no such file or directory"}},
		"no interpreter": {props{"create": val("true"), "interpreter": list("/no/sh")}, []string{"/no/sh", "no such file or directory"}},
		"no command":     {props{"create": val("no-such-command-x")}, []string{"exit status 127", "no-such-command-x"}},
		"bad glob":       {props{"create": val("true"), "assetPaths": list("[")}, []string{"assetPaths", `"["`}},
		"too large": {
			props{"create": val("true"), "environment": val(map[string]any{"A": strings.Repeat("x", 1<<18)})},
			[]string{"argument list too long", "addPreviousOutputInEnv"},
		},
		"long output": {
			props{"create": val("seq 10000; echo the reason; exit 1")},
			[]string{"exit status 1", "the reason", "earlier bytes left out", "9999"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newEngine(t).resource(localCommand).tryCreate(t.Context(), c.in)
			mustContain(t, err, c.want...)
			if len(err.Error()) > 40_000 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
}

// A command that shows nothing hands over a secret on stdout. Why it failed is on stderr.
func TestLocalFailureOfACommandThatShowsNothing(t *testing.T) {
	t.Parallel()
	in := props{"create": val("head -c 9 /dev/zero | tr '\\0' x; echo; echo why >&2; exit 3"), "logging": val("none")}
	err := newEngine(t).resource(localCommand).tryCreate(t.Context(), in)
	mustContain(t, err, "exit status 3", "why")
	if strings.Contains(err.Error(), "xxxxxxxxx") {
		t.Errorf("the error tells stdout: %v", err)
	}
}

func TestLocalLinesInPiecesAreNotMixed(t *testing.T) {
	t.Parallel()
	pause := "; sleep 0.05; "
	script := strings.Join([]string{"printf one", "printf two >&2", "echo -out", "echo -err >&2"}, pause)
	lines := newEngine(t).resource(localCommand).create(props{"create": val(script)}).lines()
	if want := []string{"one-out", "two-err"}; !slices.Equal(lines, want) {
		t.Errorf("logged %q, want %q", lines, want)
	}
}

func TestLocalLogging(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][]string{
		"":                {"err", "out", "tail"},
		"stdoutAndStderr": {"err", "out", "tail"},
		"stdout":          {"out", "tail"},
		"stderr":          {"err"},
		"none":            nil,
	} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			in := props{"create": val("echo out; echo err >&2; printf tail")}
			if mode != "" {
				in["logging"] = val(mode)
			}
			r := newEngine(t).resource(localCommand).create(in)
			got := r.lines()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("logged %q, want %q", got, want)
			}
			r.expect(map[string]string{"stdout": "out\ntail", "stderr": "err"})
		})
	}
}

func TestLocalLoggingIsLive(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		script := fmt.Sprintf("echo waiting; until [ -e %s ]; do sleep 0.01; done", gate)
		done <- e.resource(localCommand).tryCreate(t.Context(), props{"create": val(script)})
	}()
	eventually(t, "the first line is logged while the command runs", func() bool {
		return slices.Contains(e.lines(), "waiting")
	})
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestLocalLongLine(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	r := newEngine(t).resource(localCommand).create(props{
		"create": val(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; echo; echo end", size)),
	})
	r.expect(map[string]string{"stdout": strings.Repeat("x", size) + "\nend"})
	lines := r.lines()
	if got := len(strings.Join(lines[:len(lines)-1], "")); got != size || lines[len(lines)-1] != "end" {
		t.Errorf("%d bytes of the long line were logged, and last %q", got, lines[len(lines)-1])
	}
}

// alive tells whether a process exists and has not ended; an ended one may wait for its parent for a while.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// startsGroup is a script that leaves the ids of itself and of a child in a file, and never ends.
func startsGroup(file string) string {
	return fmt.Sprintf("sleep 300 & echo $$ $! > %[1]s.part; mv %[1]s.part %[1]s; wait", file)
}

func readPids(t *testing.T, file string) []int {
	t.Helper()
	var pids []int
	eventually(t, "the command has started", func() bool { _, err := os.Stat(file); return err == nil })
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func TestLocalCancelEndsTheProcessGroup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pids")
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		done <- e.resource(localCommand).tryCreate(t.Context(), props{"create": val(startsGroup(file))})
	}()
	pids := readPids(t, file)
	if _, err := e.provider.Cancel(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, <-done, "context canceled", "signal: terminated")
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

func TestLocalCancelLetsTheCommandCleanUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ready, cleaned := filepath.Join(dir, "ready"), filepath.Join(dir, "cleaned")
	ctx, cancel := context.WithCancel(t.Context())
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		script := fmt.Sprintf("trap 'touch %s; exit 7' TERM; touch %s; while :; do sleep 0.01; done", cleaned, ready)
		done <- e.resource(localCommand).tryCreate(ctx, props{"create": val(script)})
	}()
	eventually(t, "the command has started", func() bool { _, err := os.Stat(ready); return err == nil })
	cancel()
	mustContain(t, <-done, "context canceled", "exit status 7")
	if _, err := os.Stat(cleaned); err != nil {
		t.Errorf("the command could not clean up: %v", err)
	}
}

func TestLocalCancelKillsWhatIgnoresIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pids")
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		done <- e.resource(localCommand).tryCreate(t.Context(), props{"create": val("trap '' TERM; " + startsGroup(file))})
	}()
	pids := readPids(t, file)
	if _, err := e.provider.Cancel(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, <-done, "context canceled", "signal: killed")
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !alive(pid) })
	}
}

// A process in a session of its own is outside the group, and holds the output open.
func TestLocalCancelDoesNotWaitForAnEscapedProcess(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pids")
	e := newEngine(t)
	done := make(chan error, 1)
	go func() {
		script := fmt.Sprintf("setsid sh -c 'echo $$ > %s; exec sleep 300'", file)
		done <- e.resource(localCommand).tryCreate(t.Context(), props{"create": val(script)})
	}()
	pids := readPids(t, file)
	t.Cleanup(func() { _ = syscall.Kill(pids[0], syscall.SIGKILL) })
	start := time.Now()
	if _, err := e.provider.Cancel(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, <-done, "context canceled")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ending took %v", took)
	}
}

func TestLocalTimeout(t *testing.T) {
	t.Parallel()
	r := newEngine(t).resource(localCommand)
	r.timeout = 1
	mustContain(t, r.tryCreate(t.Context(), props{"create": val("sleep 300")}), "deadline exceeded")
}

func TestLocalSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const key, token, script = "s3cret-stdin", "s3cret-token", "cat; echo s3cret-script $TOKEN; echo public"
	in := props{
		"create": secret(script), "stdin": secret(key + "\n"),
		"environment": resource.NewProperty(props{"TOKEN": secret(token), "PLAIN": val("plain")}),
	}
	r := newEngine(t).resource(localCommand).create(in)
	if !r.state["create"].IsSecret() || !r.state["stdin"].IsSecret() || !r.state["environment"].ContainsSecrets() {
		t.Errorf("a secret input is plain in the state: %v", r.state)
	}
	// As with the official plugin, output is secret only where the program says so with additionalSecretOutputs.
	r.expect(map[string]string{"stdout": key + "\ns3cret-script " + token + "\npublic"})

	fail := newEngine(t).resource(localCommand)
	err := fail.tryCreate(t.Context(), with(in, props{"create": secret(script + "; printf %s \"$TOKEN\"; exit 5")}))
	mustContain(t, err, "exit status 5", "public", "[secret]")
	shown := strings.Join(append(append(r.lines(), fail.lines()...), err.Error()), "\n")
	for _, s := range []string{key, token, "TOKEN"} {
		if strings.Contains(shown, s) {
			t.Errorf("%q was shown:\n%s", s, shown)
		}
	}
	if !slices.Contains(r.lines(), "public") {
		t.Errorf("what is not secret was hidden: %q", r.lines())
	}
}

// The engine marks an output that the program lists in additionalSecretOutputs; from then on it is an input like others.
func TestLocalSecretOutputOfTheRunBefore(t *testing.T) {
	t.Parallel()
	in := props{"create": val("echo t0p"), "update": val(`echo "was $PULUMI_COMMAND_STDOUT"`), "logging": val("none")}
	r := newEngine(t).resource(localCommand).create(in)
	r.state["stdout"] = resource.MakeSecret(r.state["stdout"])
	r.update(with(in, props{"logging": val("stdout")}))
	if got := r.lines(); !slices.Equal(got, []string{"was [secret]"}) {
		t.Errorf("logged %q", got)
	}
}

func TestLocalFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := "mkdir -p assets/logos src; echo l > assets/logos/logo.svg; echo i > src/index.js; " +
		"echo s > src/secret.js; ln -s index.js src/link.js; mkfifo src/pipe.js; echo o > other"
	globs := list("assets/**", "src/**.js", "!**secret.*")
	want := []string{"assets/logos/logo.svg", "src/index.js", "src/link.js"}
	r := newEngine(t).resource(localCommand).create(props{
		"create": val(script), "dir": val(dir), "assetPaths": globs, "archivePaths": globs,
	})

	assets := r.state["assets"].ObjectValue()
	var names []string
	for name, a := range assets {
		names = append(names, string(name))
		if !a.IsAsset() || a.AssetValue().Path != filepath.Join(dir, string(name)) {
			t.Errorf("asset %s is %v", name, a)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("the assets are %q, want %q", names, want)
	}
	members, _ := r.state["archive"].ArchiveValue().GetAssets()
	if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
		t.Errorf("the archive holds %q, want %q", got, want)
	}

	r.update(props{"create": val("true"), "dir": val(dir)})
	if _, ok := r.state["assets"]; ok {
		t.Error("the state keeps assets that nobody asks for any more")
	}
}

func TestLocalRun(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	call := func(args props) (props, error) {
		resp, err := e.provider.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "command:local:run", Args: e.pack(args)})
		if err != nil {
			return nil, err
		}
		if f := resp.GetFailures(); len(f) > 0 {
			return nil, fmt.Errorf("%v", f)
		}
		return e.unpack(resp.GetReturn()), nil
	}
	out, err := call(props{"command": val("cat; echo err >&2"), "stdin": val("text")})
	if err != nil {
		t.Fatal(err)
	}
	want := props{"command": val("cat; echo err >&2"), "stdin": val("text"), "stdout": val("text"), "stderr": val("err")}
	if !resource.NewProperty(out).DeepEquals(resource.NewProperty(want)) {
		t.Errorf("the result is %v, want %v", out, want)
	}
	_, err = call(props{"command": val("echo $P; exit 6"), "environment": resource.NewProperty(props{"P": secret("hush-hush")})})
	mustContain(t, err, "exit status 6", "[secret]")
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the error shows a secret: %v", err)
	}
	_, err = call(props{})
	mustContain(t, err, "command")
}

func TestLocalCheckNamesTheBadProperty(t *testing.T) {
	t.Parallel()
	r := newEngine(t).resource(localCommand)
	for _, in := range []props{{"create": val(map[string]any{})}, {"environment": val("A=1")}, {"assetPaths": val(true)}} {
		_, failures := r.tryCheck(in)
		for k := range in {
			if len(failures) != 1 || !strings.HasPrefix(failures[0], string(k)+": ") {
				t.Errorf("%v: the failures are %q", in, failures)
			}
		}
	}
}

func TestRefreshChangesNothing(t *testing.T) {
	t.Parallel()
	r := newEngine(t).resource(localCommand).create(props{"create": val("echo x"), "stdin": secret("s")})
	resp, err := r.provider.Read(t.Context(), &pulumirpc.ReadRequest{
		Id: r.id, Urn: r.urn, Properties: r.pack(r.state), Inputs: r.pack(r.inputs),
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]props{
		"state":  {r.unpack(resp.GetProperties()), r.state},
		"inputs": {r.unpack(resp.GetInputs()), r.inputs},
	} {
		if !resource.NewProperty(pair[0]).DeepEquals(resource.NewProperty(pair[1])) {
			got, err := json.Marshal(pair[0].Mappable())
			t.Errorf("after a refresh the %s is %s (%v)", what, got, err)
		}
	}
}
