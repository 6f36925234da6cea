package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
	"google.golang.org/protobuf/types/known/emptypb"
)

// alreadyReported is the exit code by which the executor says that it has shown the user what went wrong.
const alreadyReported = 32

// policyPack is the kind of plugin that checks what a program asks for.
const policyPack = "analyzer"

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer

	engine   string // address of the engine
	executor string // path of the executor script
	tracing  string
	stop     context.CancelFunc
}

func (h *host) Handshake(
	_ context.Context, request *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = request.GetEngineAddress()
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version.Version}, nil
}

func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.stop()
	return &emptypb.Empty{}, nil
}

func (h *host) GetRequiredPackages(
	ctx context.Context, request *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	python, options, err := resolve(request.GetInfo(), false)
	if err != nil {
		return nil, err
	}
	// A project cloned a minute ago gets its environment here, as with the official host.
	if err := python.EnsureVenv(ctx, options.ProgramDir, false, true, os.Stdout, os.Stderr); err != nil {
		return nil, err
	}
	if err := python.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	plugins, err := required(ctx, python)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetRequiredPackagesResponse{}
	for _, told := range plugins {
		dependency := &pulumirpc.PackageDependency{
			Name: told.Name, Kind: "resource", Version: told.Version, Server: told.Server,
		}
		if p := told.Parameterization; p != nil {
			dependency.Parameterization = &pulumirpc.PackageParameterization{Name: p.Name, Version: p.Version, Value: p.Value}
		}
		if p := told.ExtensionParameterization; p != nil {
			dependency.Extension = &pulumirpc.PackageParameterization{Name: p.Name, Version: p.Version, Value: p.Value}
		}
		response.Packages = append(response.Packages, dependency)
	}
	return response, nil
}

func (h *host) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	if request.GetAttachDebugger() {
		return nil, errors.New("this language host cannot attach a debugger: use the official release of Pulumi for that")
	}
	python, options, err := resolve(request.GetInfo(), false)
	if err != nil {
		return nil, err
	}
	if err := python.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	if err := checkTypes(ctx, python, options); err != nil {
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	command, err := python.Command(ctx, h.arguments(request)...)
	if err != nil {
		return nil, err
	}
	if command.Env == nil {
		command.Env = os.Environ()
	}
	config, err := json.Marshal(request.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("hand the configuration to the program: %w", err)
	}
	secretKeys, err := json.Marshal(request.GetConfigSecretKeys())
	if err != nil {
		return nil, fmt.Errorf("hand the names of secret settings to the program: %w", err)
	}
	if len(request.GetConfig()) > 0 {
		command.Env = append(command.Env, "PULUMI_CONFIG="+string(config))
	}
	if len(request.GetConfigSecretKeys()) > 0 {
		command.Env = append(command.Env, "PULUMI_CONFIG_SECRET_KEYS="+string(secretKeys))
	}
	command.Stdout, command.Stderr = os.Stdout, os.Stderr

	err = command.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case !errors.As(err, &ended):
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("could not start the program: %v", err)}, nil
	case ended.ExitCode() == alreadyReported:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case ended.ExitCode() < 0:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("the program ended early: %v", ended)}, nil
	}
	return &pulumirpc.RunResponse{
		Error: "the program exited with non-zero exit code: " + strconv.Itoa(ended.ExitCode()),
	}, nil
}

// arguments is the command line of the Python that runs a program: the executor's own, then the program's.
func (h *host) arguments(request *pulumirpc.RunRequest) []string {
	arguments := []string{"-u", h.executor}
	for _, one := range []struct{ name, value string }{
		{"monitor", request.GetMonitorAddress()},
		{"engine", h.engine},
		{"project", request.GetProject()},
		{"root_directory", request.GetInfo().GetRootDirectory()},
		{"stack", request.GetStack()},
		{"pwd", request.GetPwd()},
		{"dry_run", strconv.FormatBool(request.GetDryRun())},
		{"parallel", strconv.Itoa(int(request.GetParallel()))},
		{"tracing", h.tracing},
		{"organization", request.GetOrganization()},
	} {
		if one.value != "" {
			arguments = append(arguments, "--"+one.name, one.value)
		}
	}
	program := request.GetInfo().GetEntryPoint()
	if program == "" {
		program = "."
	}
	return append(append(arguments, program), request.GetArgs()...)
}

// checkTypes runs the project's type checker, when its options name one; its report is the error.
func checkTypes(ctx context.Context, python toolchain.Toolchain, options toolchain.PythonOptions) error {
	var module string
	switch options.Typechecker {
	case toolchain.TypeCheckerNone:
		return nil
	case toolchain.TypeCheckerMypy:
		module = "mypy"
	case toolchain.TypeCheckerPyright:
		module = "pyright"
	}
	// Of the project's own environment: one that happens to be on PATH would see none of the project's packages.
	installed, err := python.ListPackages(ctx, true)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(installed, func(one plugin.DependencyInfo) bool { return one.Name == module }) {
		return fmt.Errorf("the runtime option typechecker is %q, which the project's Python does not have: add it to "+
			"the project's requirements and install them, or leave the option out", module)
	}
	var arguments []string
	if environment, err := python.VirtualEnvPath(ctx); err != nil {
		return err
	} else if module == "mypy" && environment != "" {
		// It would check every package installed in an environment inside the project.
		within, err := filepath.Rel(options.ProgramDir, environment)
		if err != nil {
			return err
		}
		arguments = append(arguments, "--exclude", within)
	}
	command, err := python.ModuleCommand(ctx, module, append(arguments, options.ProgramDir)...)
	if err != nil {
		return err
	}
	command.Dir = options.ProgramDir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s found errors (%w):\n%s", module, err, output)
	}
	return nil
}

func (h *host) RunPlugin(request *pulumirpc.RunPluginRequest, server pulumirpc.LanguageRuntime_RunPluginServer) error {
	ctx := server.Context()
	python, options, err := resolve(request.GetInfo(), request.GetKind() != policyPack)
	if err != nil {
		return err
	}
	if err := python.EnsureVenv(ctx, options.ProgramDir, false, true, os.Stdout, os.Stderr); err != nil {
		return err
	}
	if err := python.ValidateVenv(ctx); err != nil {
		return err
	}
	arguments := append([]string{"-u", options.ProgramDir}, request.GetArgs()...)
	if request.GetKind() == policyPack {
		// A policy pack is no program: the SDK serves it, given the engine's address and the pack's folder.
		arguments = append(append([]string{"-u", "-m", "pulumi.policy"}, request.GetArgs()...), options.ProgramDir)
	}
	command, err := python.Command(ctx, arguments...)
	if err != nil {
		return err
	}
	streams, stdout, stderr, err := rpcutil.MakeRunPluginStreams(server, false)
	if err != nil {
		return err
	}
	command.Dir = request.GetPwd()
	command.Env = request.GetEnv()
	environment, err := python.VirtualEnvPath(ctx)
	if err != nil {
		return errors.Join(err, streams.Close())
	}
	if environment != "" {
		command.Env = toolchain.ActivateVirtualEnv(command.Env, environment)
	}
	command.Stdout, command.Stderr = stdout, stderr
	err = errors.Join(command.Run(), streams.Close())
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return server.Send(&pulumirpc.RunPluginResponse{
			Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(ended.ExitCode())}, //nolint:gosec // 0 to 255
		})
	}
	return err
}

func (h *host) InstallDependencies(
	request *pulumirpc.InstallDependenciesRequest, server pulumirpc.LanguageRuntime_InstallDependenciesServer,
) error {
	python, options, err := resolve(request.GetInfo(), request.GetIsPlugin())
	if err != nil {
		return err
	}
	streams, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(server, request.GetIsTerminal())
	if err != nil {
		return err
	}
	return errors.Join(python.InstallDependencies(
		server.Context(), options.ProgramDir, request.GetUseLanguageVersionTools(), true, stdout, stderr,
	), streams.Close())
}

func (h *host) RuntimeOptionsPrompts(
	context.Context, *pulumirpc.RuntimeOptionsRequest,
) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}

func (h *host) About(ctx context.Context, request *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	python, _, err := resolve(request.GetInfo(), false)
	if err != nil {
		return nil, err
	}
	executable, version, err := about(ctx, python)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.AboutResponse{Executable: executable, Version: version}, nil
}

// about asks a Python for its path and its version.
//
// The engine waits for the answer before every run. The SDK's own function starts three Pythons for it, one of them to
// ask pip for a version that is not part of the answer: 0.3 s of processor time. What pyvenv.cfg says
// would take no Python at all, but names the version the environment was made with, which an update may have replaced.
func about(ctx context.Context, python toolchain.Toolchain) (executable, version string, err error) {
	// Without site-packages (-S) and the caller's settings (-I) the answer is the same and takes half as long.
	command, err := python.Command(ctx, "-I", "-S", "-c", "import sys; print(sys.executable, sys.version, sep='\\n')")
	if err != nil {
		return "", "", err
	}
	output, err := command.Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", command.Path, err)
	}
	executable, version, _ = strings.Cut(string(output), "\n")
	parsed, err := toolchain.ParsePythonVersion(version)
	if err != nil {
		return "", "", err
	}
	return strings.TrimSpace(executable), parsed.String(), nil
}

func (h *host) GetProgramDependencies(
	ctx context.Context, request *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	python, _, err := resolve(request.GetInfo(), false)
	if err != nil {
		return nil, err
	}
	installed, err := python.ListPackages(ctx, request.GetTransitiveDependencies())
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetProgramDependenciesResponse{}
	for _, one := range installed {
		response.Dependencies = append(response.Dependencies, &pulumirpc.DependencyInfo{Name: one.Name, Version: one.Version})
	}
	return response, nil
}
