// Command pulumi-language-python is the engine's door to programs, policy packs and plugins written in Python.
//
// The official one is published in no Go module. This one speaks the same protocol (pulumi/language.proto of the SDK
// module it is built with), honours the same `runtime.options` of Pulumi.yaml (toolchain, virtualenv, typechecker) and
// starts programs through the SDK's own `pulumi-language-python-exec`, which must lie beside it. Left out is what only
// generates code: `pulumi convert`, `pulumi package add` and their kin.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/logging"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// executorName is the SDK's script that connects a Python process to the engine and runs the user's program in it.
const executorName = "pulumi-language-python-exec"

// engineCheckInterval is how often the host asks whether its engine still lives, as the official hosts do.
const engineCheckInterval = 5 * time.Minute

func main() {
	if err := serve(); err != nil {
		cmdutil.Exit(err)
	}
}

func serve() error {
	tracing := flag.String("tracing", "", "address or file that receives traces")
	flag.Parse()
	logging.InitLogging(false, 0, false)
	cmdutil.InitTracing("pulumi-language-python", "pulumi-language-python", *tracing)

	executor, err := findExecutor()
	if err != nil {
		return err
	}

	// Asking for the signal also undoes an inherited "ignore", with which the engine would wait 5 s for this process
	// at the end of every run. A child started from here gets the default handling back in the same way.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	stop := make(chan bool)
	go func() {
		<-ctx.Done()
		close(stop)
	}()

	// Without an address the engine attached to a host somebody else started; it tells its address in the handshake.
	engine := flag.Arg(0)
	if engine != "" {
		if err := rpcutil.Healthcheck(ctx, engine, engineCheckInterval, cancel); err != nil {
			return fmt.Errorf("watch the engine at %s: %w", engine, err)
		}
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: stop,
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(server, &host{
				engine: engine, executor: executor, tracing: *tracing, stop: cancel,
			})
			return nil
		},
		Options: rpcutil.TracingServerInterceptorOptions(nil),
	})
	if err != nil {
		return fmt.Errorf("open a port for the engine: %w", err)
	}
	fmt.Println(handle.Port) // The engine reads the port from the first line.
	return <-handle.Done
}

// findExecutor looks beside the name this program was started by and beside the file that name leads to.
func findExecutor() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the folder of %s: %w", os.Args[0], err)
	}
	beside := []string{filepath.Join(filepath.Dir(self), executorName)}
	if filepath.IsAbs(os.Args[0]) {
		beside = append(beside, filepath.Join(filepath.Dir(os.Args[0]), executorName))
	}
	for _, path := range beside {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: expected at one of %q; install it beside pulumi-language-python", executorName, beside)
}
