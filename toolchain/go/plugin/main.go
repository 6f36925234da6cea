// Command pulumi-resource is several Pulumi resource plugins in one binary: it serves the one its own file name names,
// `pulumi-resource-<package>`.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"reflector/toolchain/bridged"
)

// Set by the linker (-X main.dockerVersion=…): the version a plugin answers to must be the SDK's.
var dockerVersion, tlsVersion, randomVersion string

const prefix = "pulumi-resource-"

var plugins = map[string]func(){
	"docker": func() {
		tfbridge.Main("docker", dockerVersion, bridged.Docker(dockerVersion), []byte("{}"))
	},
	"tls": func() {
		pf.Main(context.Background(), "tls", bridged.TLS(tlsVersion), pf.ProviderMetadata{PackageSchema: []byte("{}")})
	},
	"random": func() {
		pf.Main(context.Background(), "random", bridged.Random(randomVersion), pf.ProviderMetadata{PackageSchema: []byte("{}")})
	},
}

func main() {
	called := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	serve, known := plugins[strings.TrimPrefix(called, prefix)]
	if !known {
		names := make([]string, 0, len(plugins))
		for name := range plugins {
			names = append(names, prefix+name)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "called as %q, which names no plugin; call it by one of these names: %s\n",
			called, strings.Join(names, ", "))
		os.Exit(2)
	}
	serve()
}
