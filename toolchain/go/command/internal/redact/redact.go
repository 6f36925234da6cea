// Package redact keeps inputs that a program marked secret out of log lines and error texts.
//
// The engine filters the secrets of the stack's configuration from what it shows, but not secrets made by other
// resources (a generated password, a private key), which are just what commands are fed with.
package redact

import (
	"cmp"
	"context"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// mark is what the engine's own filter writes in a secret's place.
const mark = "[secret]"

// minSecret is the least length in bytes of a secret that is hidden, the same as in the engine's filter.
const minSecret = 3

// minLine is the least length in bytes of one line of a secret of several lines that is hidden by itself. Shorter
// lines ("fi", "}") are in any output, and hiding them would only make it unreadable.
const minLine = 4

// The connection as a whole is secret in every SDK, so that its keys never reach the state in the clear. Hiding host,
// port and user too would leave errors that nobody can act on.
const connection = "connection"

var connectionSecrets = map[string]bool{"password": true, "privateKey": true, "privateKeyPassword": true}

type contextKey struct{}

// With returns a context whose redaction hides every secret string within the given inputs or state.
func With(ctx context.Context, values ...property.Map) context.Context {
	var found []string
	for _, m := range values {
		for k, v := range m.All {
			if k == connection {
				collectConnection(v, &found)
			} else {
				collect(v, false, &found)
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		// At one place the replacer takes the first pair that fits: the longest has to come first.
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	var pairs []string
	for _, secret := range slices.Compact(found) {
		pairs = append(pairs, secret, mark)
	}
	return context.WithValue(ctx, contextKey{}, strings.NewReplacer(pairs...))
}

// Text returns the text with the secrets of this context replaced by "[secret]".
func Text(ctx context.Context, text string) string {
	if r, ok := ctx.Value(contextKey{}).(*strings.Replacer); ok {
		return r.Replace(text)
	}
	return text
}

func collect(v property.Value, secret bool, found *[]string) {
	secret = secret || v.Secret()
	switch {
	case v.IsString():
		if secret {
			add(v.AsString(), found)
		}
	case v.IsArray():
		for _, e := range v.AsArray().All {
			collect(e, secret, found)
		}
	case v.IsMap():
		for _, e := range v.AsMap().All {
			collect(e, secret, found)
		}
	}
}

func collectConnection(v property.Value, found *[]string) {
	if !v.IsMap() {
		return
	}
	for k, e := range v.AsMap().All {
		switch {
		case connectionSecrets[k] && e.IsString():
			add(e.AsString(), found)
		case e.IsMap():
			collectConnection(e, found)
		}
	}
}

// add takes the secret, and its lines where it has several: output is logged line by line.
func add(secret string, found *[]string) {
	if trimmed := strings.TrimSpace(secret); len(trimmed) >= minSecret {
		*found = append(*found, trimmed)
	}
	for line := range strings.SplitSeq(secret, "\n") {
		if line = strings.TrimSpace(line); len(line) >= minLine {
			*found = append(*found, line)
		}
	}
}

// Wrap returns the provider with redaction around each operation that runs something.
func Wrap(provider p.Provider) p.Provider {
	wrapped := provider
	wrapped.Create = func(ctx context.Context, req p.CreateRequest) (p.CreateResponse, error) {
		ctx = With(ctx, req.Properties)
		resp, err := provider.Create(ctx, req)
		return resp, redactError(ctx, err)
	}
	wrapped.Update = func(ctx context.Context, req p.UpdateRequest) (p.UpdateResponse, error) {
		ctx = With(ctx, req.Inputs, req.State)
		resp, err := provider.Update(ctx, req)
		return resp, redactError(ctx, err)
	}
	wrapped.Delete = func(ctx context.Context, req p.DeleteRequest) error {
		ctx = With(ctx, req.Properties)
		return redactError(ctx, provider.Delete(ctx, req))
	}
	wrapped.Invoke = func(ctx context.Context, req p.InvokeRequest) (p.InvokeResponse, error) {
		ctx = With(ctx, req.Args)
		resp, err := provider.Invoke(ctx, req)
		return resp, redactError(ctx, err)
	}
	return wrapped
}

// redacted shows the cleaned text and stays the error it was to errors.Is and errors.As.
type redacted struct {
	text string
	err  error
}

func (e redacted) Error() string { return e.text }
func (e redacted) Unwrap() error { return e.err }

func redactError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if text := Text(ctx, err.Error()); text != err.Error() {
		return redacted{text: text, err: err}
	}
	return err
}
