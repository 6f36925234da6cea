// Package local runs commands on the machine that the engine runs on: the resource command:local:Command and the
// function command:local:run.
package local

import (
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"reflector/toolchain/command/internal/output"
)

// Logging says which streams of a command are shown live.
type Logging string

// Values lists the members of the enum for the schema.
func (Logging) Values() []infer.EnumValue[Logging] {
	return []infer.EnumValue[Logging]{
		{Name: output.LogStdout, Value: output.LogStdout, Description: "Show stdout but not stderr."},
		{Name: output.LogStderr, Value: output.LogStderr, Description: "Show stderr but not stdout."},
		{Name: output.LogStdoutAndStderr, Value: output.LogStdoutAndStderr, Description: "Show stdout and stderr."},
		{Name: output.LogNone, Value: output.LogNone, Description: "Show neither."},
	}
}

// BaseInputs says how a command is run.
type BaseInputs struct {
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	Interpreter            *[]string          `pulumi:"interpreter,optional"`
	Dir                    *string            `pulumi:"dir,optional"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	AssetPaths             *[]string          `pulumi:"assetPaths,optional"`
	ArchivePaths           *[]string          `pulumi:"archivePaths,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

const globRules = `
Only files are taken, not directories. The separator is "/". "*" matches anything but "/", "**" matches anything.
A pattern that starts with "!" takes files out again. Patterns apply in the order given.
Paths in the result are relative to the working directory, without a leading "./".`

// Annotate describes the fields in the schema.
func (in *BaseInputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Stdin, "The text that the command reads from its standard input.")
	a.Describe(&in.Logging, "Which streams of the command are shown live, both by default. What is kept in the outputs "+
		"`stdout` and `stderr` does not depend on it. Where the output holds a secret, show nothing and list the "+
		"outputs in `additionalSecretOutputs`; stdout is then no part of the error of a command that fails either.")
	a.Describe(&in.Interpreter, "The program, with its first arguments, that gets the command as its last argument. "+
		"`[\"/bin/sh\", \"-c\"]` by default.")
	a.Describe(&in.Dir, "The directory the command runs in. It must exist.")
	a.Describe(&in.Environment, "Environment variables in addition to those of the engine's process.")
	a.Describe(&in.AssetPaths, "Patterns of the files to return, each as an asset, when the command has ended."+globRules)
	a.Describe(&in.ArchivePaths, "Patterns of the files to return, as one archive, when the command has ended."+globRules)
	a.Describe(&in.AddPreviousOutputInEnv, "Whether a run gets the output of the run before it, in "+
		"PULUMI_COMMAND_STDOUT and PULUMI_COMMAND_STDERR. True by default.")
}

// BaseOutputs is what a run leaves behind.
type BaseOutputs struct {
	Stdout  string                            `pulumi:"stdout"`
	Stderr  string                            `pulumi:"stderr"`
	Assets  *map[string]*types.AssetOrArchive `pulumi:"assets,optional"`
	Archive *resource.Archive                 `pulumi:"archive,optional"`
}

// Annotate describes the fields in the schema.
func (out *BaseOutputs) Annotate(a infer.Annotator) {
	a.Describe(&out.Stdout, "What the command wrote to its standard output, without the last newline.")
	a.Describe(&out.Stderr, "What the command wrote to its standard error, without the last newline.")
	a.Describe(&out.Assets, "The files that match `assetPaths`, by path relative to the working directory.")
	a.Describe(&out.Archive, "The files that match `archivePaths`.")
}
