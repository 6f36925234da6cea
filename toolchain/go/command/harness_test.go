package command_test

import (
	"context"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"reflector/toolchain/command"
)

type (
	props = resource.PropertyMap
	value = resource.PropertyValue
)

const (
	localCommand  = "command:local:Command"
	remoteCommand = "command:remote:Command"
	copyToRemote  = "command:remote:CopyToRemote"
	copyFile      = "command:remote:CopyFile"
)

func val(v any) value      { return resource.NewPropertyValue(v) }
func secret(v any) value   { return resource.MakeSecret(val(v)) }
func list(vs ...any) value { return val(vs) }
func unknown() value       { return resource.MakeComputed(val("")) }

// fakeEngine stands where the real one does: it starts the conversation as the engine would, over the same messages,
// and keeps what the provider logs.
type fakeEngine struct {
	pulumirpc.UnimplementedEngineServer

	t        *testing.T
	provider pulumirpc.ResourceProviderServer
	mu       sync.Mutex
	logs     []*pulumirpc.LogRequest
}

func (e *fakeEngine) Log(_ context.Context, req *pulumirpc.LogRequest) (*emptypb.Empty, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, req)
	return &emptypb.Empty{}, nil
}

// lines returns what was logged so far. Every line of a command's output must be a status, which leaves the display
// when the next one comes.
func (e *fakeEngine) lines() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, l := range e.logs {
		if l.GetSeverity() == pulumirpc.LogSeverity_INFO && !l.GetEphemeral() {
			e.t.Errorf("logged for good: %q", l.GetMessage())
		}
		lines = append(lines, l.GetMessage())
	}
	return lines
}

func newEngine(t *testing.T) *fakeEngine {
	t.Helper()
	e := &fakeEngine{t: t}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	pulumirpc.RegisterEngineServer(server, e)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	if e.provider, err = p.RawServer(command.Name, "1.2.1", command.NewProvider())(nil); err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if _, err := e.provider.Handshake(t.Context(), &pulumirpc.ProviderHandshakeRequest{EngineAddress: address}); err != nil {
		t.Fatal(err)
	}
	_, err = e.provider.Configure(t.Context(), &pulumirpc.ConfigureRequest{
		AcceptSecrets: true, AcceptResources: true, SendsOldInputs: true, SendsOldInputsToDelete: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var wire = plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true, KeepResources: true, KeepOutputValues: true}

func (e *fakeEngine) pack(m props) *structpb.Struct {
	e.t.Helper()
	s, err := plugin.MarshalProperties(m, wire)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *fakeEngine) unpack(s *structpb.Struct) props {
	e.t.Helper()
	m, err := plugin.UnmarshalProperties(s, wire)
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

// instance is one resource, with what the engine keeps of it in the state.
type instance struct {
	*fakeEngine
	token   string
	urn     string
	inputs  props
	state   props
	id      string
	timeout float64
}

func (e *fakeEngine) resource(token string) *instance {
	return &instance{fakeEngine: e, token: token, urn: "urn:pulumi:dev::test::" + token + "::it"}
}

// tryCheck returns the checked inputs and the reasons against them, each after the name of its property.
func (r *instance) tryCheck(inputs props) (props, []string) {
	r.t.Helper()
	resp, err := r.provider.Check(r.t.Context(), &pulumirpc.CheckRequest{Urn: r.urn, News: r.pack(inputs)})
	if err != nil {
		r.t.Fatalf("Check: %v", err)
	}
	var failures []string
	for _, f := range resp.GetFailures() {
		failures = append(failures, f.GetProperty()+": "+f.GetReason())
	}
	return r.unpack(resp.GetInputs()), failures
}

func (r *instance) check(inputs props) props {
	r.t.Helper()
	checked, failures := r.tryCheck(inputs)
	if len(failures) > 0 {
		r.t.Fatalf("Check: %v", failures)
	}
	return checked
}

func (r *instance) tryCreate(ctx context.Context, inputs props) error {
	r.t.Helper()
	checked := r.check(inputs)
	resp, err := r.provider.Create(ctx, &pulumirpc.CreateRequest{
		Urn: r.urn, Properties: r.pack(checked), Timeout: r.timeout,
	})
	if err != nil {
		return err
	}
	r.inputs, r.state, r.id = checked, r.unpack(resp.GetProperties()), resp.GetId()
	if r.id == "" {
		r.t.Error("created without an id")
	}
	return nil
}

func (r *instance) create(inputs props) *instance {
	r.t.Helper()
	if err := r.tryCreate(r.t.Context(), inputs); err != nil {
		r.t.Fatalf("Create: %v", err)
	}
	return r
}

func (r *instance) previewCreate(inputs props) props {
	r.t.Helper()
	resp, err := r.provider.Create(r.t.Context(), &pulumirpc.CreateRequest{
		Urn: r.urn, Properties: r.pack(r.check(inputs)), Preview: true,
	})
	if err != nil {
		r.t.Fatalf("Create at preview: %v", err)
	}
	return r.unpack(resp.GetProperties())
}

// diff returns the kind of each change by its path.
func (r *instance) diff(inputs props) map[string]string {
	r.t.Helper()
	resp, err := r.provider.Diff(r.t.Context(), &pulumirpc.DiffRequest{
		Id: r.id, Urn: r.urn, Olds: r.pack(r.state), OldInputs: r.pack(r.inputs), News: r.pack(r.check(inputs)),
	})
	if err != nil {
		r.t.Fatalf("Diff: %v", err)
	}
	kinds := map[string]string{}
	for path, d := range resp.GetDetailedDiff() {
		kinds[path] = d.GetKind().String()
	}
	if want := resp.GetChanges() == pulumirpc.DiffResponse_DIFF_SOME; want != (len(kinds) > 0) {
		r.t.Errorf("Diff answers %v, with the details %v", resp.GetChanges(), kinds)
	}
	return kinds
}

func (r *instance) tryUpdate(inputs props, preview bool) (props, error) {
	r.t.Helper()
	checked := r.check(inputs)
	resp, err := r.provider.Update(r.t.Context(), &pulumirpc.UpdateRequest{
		Id: r.id, Urn: r.urn, Olds: r.pack(r.state), OldInputs: r.pack(r.inputs), News: r.pack(checked), Preview: preview,
	})
	if err != nil {
		return nil, err
	}
	out := r.unpack(resp.GetProperties())
	if !preview {
		r.inputs, r.state = checked, out
	}
	return out, nil
}

func (r *instance) update(inputs props) {
	r.t.Helper()
	if _, err := r.tryUpdate(inputs, false); err != nil {
		r.t.Fatalf("Update: %v", err)
	}
}

func (r *instance) delete() error {
	r.t.Helper()
	_, err := r.provider.Delete(r.t.Context(), &pulumirpc.DeleteRequest{
		Id: r.id, Urn: r.urn, Properties: r.pack(r.state), OldInputs: r.pack(r.inputs),
	})
	return err
}

// expect compares outputs of the state, which must be plain strings.
func (r *instance) expect(want map[string]string) {
	r.t.Helper()
	for name, text := range want {
		if got := r.state[resource.PropertyKey(name)]; !got.IsString() || got.StringValue() != text {
			r.t.Errorf("%s is %v, want %q", name, got, text)
		}
	}
}

func with(base props, more props) props {
	all := maps.Clone(base)
	maps.Copy(all, more)
	return all
}

func mustContain(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q:\n%v", part, err)
		}
	}
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
