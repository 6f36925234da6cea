package main

import (
	"fmt"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// pluginEnvironment is where a plugin's packages are when its options do not say: programs may use the Python on PATH,
// plugins have an environment of their own.
const pluginEnvironment = "venv"

// resolve reads the `runtime.options` of a project, a policy pack or a plugin and returns the Python they choose. What
// it takes is what the official host takes, so that no project works on this one alone.
func resolve(info *pulumirpc.ProgramInfo, plugin bool) (toolchain.Toolchain, toolchain.PythonOptions, error) {
	options := toolchain.PythonOptions{Root: info.GetRootDirectory(), ProgramDir: info.GetProgramDirectory()}
	values := info.GetOptions().AsMap()
	for _, name := range []string{"virtualenv", "toolchain", "typechecker"} {
		value, given := values[name]
		if !given {
			continue
		}
		text, isText := value.(string)
		if !isText {
			return nil, options, fmt.Errorf("runtime option %q is %v: it must be text", name, value)
		}
		switch name {
		case "virtualenv":
			options.Virtualenv = text
		case "toolchain":
			switch text {
			case "pip":
				options.Toolchain = toolchain.Pip
			case "poetry":
				options.Toolchain = toolchain.Poetry
			case "uv":
				options.Toolchain = toolchain.Uv
			default:
				return nil, options, fmt.Errorf("runtime option \"toolchain\" is %q: use pip, poetry or uv", text)
			}
		case "typechecker":
			switch text {
			case "mypy":
				options.Typechecker = toolchain.TypeCheckerMypy
			case "pyright":
				options.Typechecker = toolchain.TypeCheckerPyright
			default:
				return nil, options, fmt.Errorf("runtime option \"typechecker\" is %q: use mypy or pyright", text)
			}
		}
	}
	// Without a choice a lock file decides between uv and poetry, and pip is taken where there is none.
	pip := options.Toolchain == toolchain.Pip || options.Toolchain == toolchain.Auto
	if plugin && pip && options.Virtualenv == "" {
		options.Virtualenv = pluginEnvironment
	}
	chosen, err := toolchain.ResolveToolchain(options)
	return chosen, options, err
}
