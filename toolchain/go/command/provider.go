// Package command is a resource provider with the tokens, properties and behaviour of pulumi-command 1.2.1, for places
// where the official plugin cannot be downloaded. A program written against the PyPI SDK `pulumi_command` runs on
// either without a change.
//
// It differs from the official plugin where that one would lose work, leak or give up:
//   - cancelling an operation ends the whole process group of a local command, not its shell alone, and also a remote
//     command or a copy, for which that one waits;
//   - log lines and error texts never show an input that the program marked secret, and an error carries only the last
//     of a long output, and nothing of stdout where logging is none;
//   - a line of stdout that is written in pieces is not mixed with one of stderr;
//   - an overlong line of output cannot block a command, bytes that are not UTF-8 cannot lose a finished one, and a
//     remote one need not read all of its stdin;
//   - `assets` and `archive` are those of the last run: without assetPaths or archivePaths there are none, where that
//     one keeps older ones;
//   - assetPaths and archivePaths pass over links to directories, sockets and pipes, on which that one fails or hangs;
//   - CopyToRemote takes assets and archives from a URI, archives put together from assets (as later versions of that one
//     do), and a source that a preview does not know yet; a copy that fails only when it is closed has failed;
//   - perDialTimeout holds for the login too, and a login through a proxy that fails is tried again on a new connection;
//   - a failed attempt to connect is shown with the host and the reason while the next one is waited for, where that one
//     counts them ("Dial 2/10 failed");
//   - an environment variable that an SSH server does not accept (AcceptEnv) is one error with the remedy in it, where
//     that one logs the remedy beside it; the warning about PULUMI_COMMAND_STDOUT and _STDERR names the way out of it;
//   - an error begins with the property it is about ("dir: ", "assetPaths: ", "privateKey: "), and one of a connection
//     with the host, by way of which proxy;
//   - an RSA hostKey is accepted from servers that no longer sign with SHA-1;
//   - a stale SSH_AUTH_SOCK is no error where there is a private key or a password;
//   - it answers the engine's Handshake, which that one does not implement;
//   - there is no build of it for Windows.
package command

import (
	"context"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"

	"reflector/toolchain/command/internal/redact"
	"reflector/toolchain/command/local"
	"reflector/toolchain/command/remote"
)

// Name is the package name in every token of this provider.
const Name = "command"

// NewProvider makes the provider: four resources, one function, and redaction of secret inputs around all of them.
func NewProvider() p.Provider {
	return redact.Wrap(infer.Provider(infer.Options{
		Metadata: schema.Metadata{
			DisplayName: "Command",
			Description: "Runs commands and copies files, on this machine or over SSH, as part of the resource model.",
			Keywords:    []string{"pulumi", "command", "category/utility", "kind/native"},
			LanguageMap: map[string]any{
				"python": map[string]any{
					"respectSchemaVersion": true,
					"pyproject":            map[string]bool{"enabled": true},
				},
			},
		},
		Resources: []infer.InferredResource{
			infer.Resource(&local.Command{}),
			infer.Resource(&remote.Command{}),
			infer.Resource(&remote.CopyToRemote{}),
			infer.Resource(&remote.CopyFile{}),
		},
		Functions: []infer.InferredFunction{
			infer.Function(&local.Run{}),
		},
	}))
}

// Main serves the provider to the engine that started this process, until the engine ends it. The version is the one
// the plugin was installed under, with or without a leading "v".
func Main(version string) error {
	return NewProvider().Run(context.Background(), Name, strings.TrimPrefix(version, "v"))
}
