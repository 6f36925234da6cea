package main

import (
	"fmt"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// resolve reads the `runtime.options` of a project and returns the Python they choose.
func resolve(info *pulumirpc.ProgramInfo) (toolchain.Toolchain, toolchain.PythonOptions, error) {
	options := toolchain.PythonOptions{Root: info.GetRootDirectory(), ProgramDir: info.GetProgramDirectory()}
	for name, value := range info.GetOptions().AsMap() {
		text, isText := value.(string)
		if !isText {
			return nil, options, fmt.Errorf("runtime option %q is %v: it must be text", name, value)
		}
		switch name {
		case "virtualenv":
			options.Virtualenv = text
		case "toolchain":
			switch text {
			case "auto":
				options.Toolchain = toolchain.Auto
			case "pip":
				options.Toolchain = toolchain.Pip
			case "poetry":
				options.Toolchain = toolchain.Poetry
			case "uv":
				options.Toolchain = toolchain.Uv
			default:
				return nil, options, fmt.Errorf("runtime option \"toolchain\" is %q: use auto, pip, poetry or uv", text)
			}
		case "typechecker":
			switch text {
			case "none":
				options.Typechecker = toolchain.TypeCheckerNone
			case "mypy":
				options.Typechecker = toolchain.TypeCheckerMypy
			case "pyright":
				options.Typechecker = toolchain.TypeCheckerPyright
			default:
				return nil, options, fmt.Errorf("runtime option \"typechecker\" is %q: use none, mypy or pyright", text)
			}
		}
	}
	chosen, err := toolchain.ResolveToolchain(options)
	return chosen, options, err
}
