// Command pulumi-resource-command serves the command provider alone.
package main

import (
	"fmt"
	"os"

	"reflector/toolchain/command"
)

// version is the version of the official plugin that this one stands in for; a build may set it with -ldflags -X.
var version = "1.2.1"

func main() {
	if err := command.Main(version); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-command:", err)
		os.Exit(1)
	}
}
