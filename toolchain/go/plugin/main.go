// Command pulumi-resource is several Pulumi resource plugins in one binary: it serves the one its own file name names,
// `pulumi-resource-<package>`. They share nine tenths of their code, so one binary saves minutes of linking and disk.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/pkg/v3/resource/provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"reflector/toolchain/bridged"
	"reflector/toolchain/command"
)

// Set by the linker (-X main.dockerVersion=…). A plugin must answer to the version of the SDK that asks for it.
var commandVersion, dockerVersion, randomVersion, tlsVersion string

const prefix = "pulumi-resource-"

// one is a plugin: the version it answers to and what serves it to the engine until the engine ends it.
type one struct {
	version string
	serve   func(version string) error
}

func plugins() map[string]one {
	return map[string]one{
		"command": {commandVersion, command.Main},
		"docker":  {dockerVersion, serveDocker},
		"random":  {randomVersion, func(version string) error { return serveFramework(bridged.Random(version)) }},
		"tls":     {tlsVersion, func(version string) error { return serveFramework(bridged.TLS(version)) }},
	}
}

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	called := strings.TrimSuffix(filepath.Base(arguments[0]), ".exe")
	all := plugins()
	chosen, known := all[strings.TrimPrefix(called, prefix)]
	if !known || !strings.HasPrefix(called, prefix) {
		names := make([]string, 0, len(all))
		for name := range all {
			names = append(names, prefix+name)
		}
		slices.Sort(names)
		return fmt.Errorf("called as %q, which names no plugin: link it to one of %s", called, strings.Join(names, ", "))
	}
	if chosen.version == "" {
		return fmt.Errorf("%s was built without a version: build it with toolchain/go/build.py", called)
	}
	if len(arguments) == 2 && strings.TrimLeft(arguments[1], "-") == "version" {
		fmt.Println(chosen.version)
		return nil
	}
	return chosen.serve(chosen.version)
}

// serveDocker serves the one provider built on Terraform's older plugin SDK.
func serveDocker(version string) error {
	info := bridged.Docker(version)
	info.P.InitLogging(context.Background())
	return provider.Main(info.Name, func(engine *provider.HostClient) (pulumirpc.ResourceProviderServer, error) {
		served := tfbridge.NewProvider(context.Background(), engine, info.Name, version, info.P, info, nil)
		return withSchema{served, info}, nil
	})
}

// withSchema adds the schema on demand to a provider that otherwise wants it given as a text at start.
type withSchema struct {
	pulumirpc.ResourceProviderServer
	info tfbridge.ProviderInfo
}

func (p withSchema) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	text, err := schemaText(p.info)
	return &pulumirpc.GetSchemaResponse{Schema: string(text)}, err
}

// serveFramework serves a provider built on Terraform's plugin framework; it reports its own errors and exits.
func serveFramework(info tfbridge.ProviderInfo) error {
	pf.Main(context.Background(), info.Name, info, pf.ProviderMetadata{
		XGetSchema: func(context.Context, plugin.GetSchemaRequest) ([]byte, error) { return schemaText(info) },
	})
	return nil
}

func schemaText(info tfbridge.ProviderInfo) ([]byte, error) {
	schema, err := bridged.Schema(info)
	if err != nil {
		return nil, err
	}
	return json.Marshal(schema)
}
