package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"

	"reflector/toolchain/command/internal/lifecycle"
	"reflector/toolchain/command/internal/output"
)

// terminateGrace is how long a cancelled command has to end after SIGTERM before the connection is closed.
const terminateGrace = 5 * time.Second

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

// Command is the controller of command:remote:Command.
type Command struct{}

// Annotate describes the resource in the schema.
func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "A command that runs on another host, over SSH, when the resource is created, updated or deleted.")
}

// CommandInputs are the properties a program sets.
type CommandInputs struct {
	lifecycle.Inputs
	Connection             *Connection        `pulumi:"connection"                      provider:"secret"`
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

// Annotate describes the fields in the schema.
func (in *CommandInputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Connection, "How to reach and log in to the host.")
	a.Describe(&in.Stdin, "The text that the command reads from its standard input.")
	a.Describe(&in.Logging, "Which streams of the command are shown live, both by default. What is kept in the outputs "+
		"`stdout` and `stderr` does not depend on it. Where the output holds a secret, show nothing and list the "+
		"outputs in `additionalSecretOutputs`; stdout is then no part of the error of a command that fails either.")
	a.Describe(&in.Environment, "Environment variables for the command. The SSH server takes only those that its "+
		"AcceptEnv names; with a shell at the other end, `NAME=value command` needs no such setting.")
	a.Describe(&in.AddPreviousOutputInEnv, "Whether a run gets the output of the run before it, in "+
		"PULUMI_COMMAND_STDOUT and PULUMI_COMMAND_STDERR, if the server's AcceptEnv names them. True by default.")
}

// CommandOutputs is the state: the inputs and what the last run wrote.
type CommandOutputs struct {
	CommandInputs
	Stdout string `pulumi:"stdout"`
	Stderr string `pulumi:"stderr"`
}

// Annotate describes the fields in the schema.
func (out *CommandOutputs) Annotate(a infer.Annotator) {
	a.Describe(&out.Stdout, "What the command wrote to its standard output, without the last newline.")
	a.Describe(&out.Stderr, "What the command wrote to its standard error, without the last newline.")
}

// Create runs the create command, if there is one. A preview runs nothing.
func (*Command) Create(
	ctx context.Context, req infer.CreateRequest[CommandInputs],
) (infer.CreateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs}
	id, err := resource.NewUniqueHex(req.Name, 8, 0)
	if err == nil && !req.DryRun && req.Inputs.Create != nil {
		err = state.run(ctx, *req.Inputs.Create)
	}
	return infer.CreateResponse[CommandOutputs]{ID: id, Output: state}, err
}

// Update runs the update command, or without one the create command. A preview runs nothing.
func (*Command) Update(
	ctx context.Context, req infer.UpdateRequest[CommandInputs, CommandOutputs],
) (infer.UpdateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs, Stdout: req.State.Stdout, Stderr: req.State.Stderr}
	var err error
	if command := req.Inputs.OnUpdate(); command != nil && !req.DryRun {
		err = state.run(ctx, *command)
	}
	return infer.UpdateResponse[CommandOutputs]{Output: state}, err
}

// Delete runs the delete command, if there is one.
func (*Command) Delete(ctx context.Context, req infer.DeleteRequest[CommandOutputs]) (infer.DeleteResponse, error) {
	if req.State.Delete == nil {
		return infer.DeleteResponse{}, nil
	}
	return infer.DeleteResponse{}, req.State.run(ctx, *req.State.Delete)
}

// run runs one command to its end and takes over its output. On an error the output stays that of the run before.
func (out *CommandOutputs) run(ctx context.Context, command string) error {
	client, err := out.Connection.Dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	// Until the command runs there is nothing to end with care, so a cancellation closes the connection.
	keep := context.AfterFunc(ctx, func() { _ = client.Close() })
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	if err := out.setEnvironment(ctx, session); err != nil {
		return err
	}

	rec := output.NewRecorder(ctx, string(valueOr(out.Logging, output.LogStdoutAndStderr)))
	session.Stdout, session.Stderr = rec.Stdout, rec.Stderr
	keep()
	err = execute(ctx, client, session, command, valueOr(out.Stdin, ""))
	rec.Finish()
	if err != nil {
		return rec.Failure(ctx, command, err)
	}
	out.Stdout, out.Stderr = rec.Stdout.Text(), rec.Stderr.Text()
	return nil
}

func (out *CommandOutputs) setEnvironment(ctx context.Context, session *ssh.Session) error {
	const remedy = "name it in AcceptEnv of the host's sshd_config, or, where a shell runs the command, write " +
		"'NAME=value command'"
	if out.Environment != nil {
		for name, value := range *out.Environment {
			if err := session.Setenv(name, value); err != nil {
				return fmt.Errorf("the SSH server does not accept the environment variable %q: %w; %s", name, err, remedy)
			}
		}
	}
	if !valueOr(out.AddPreviousOutputInEnv, true) {
		return nil
	}
	for name, value := range map[string]string{output.PreviousStdout: out.Stdout, output.PreviousStderr: out.Stderr} {
		if value == "" {
			continue
		}
		if err := session.Setenv(name, value); err != nil {
			// Most servers accept neither and most commands need neither, so going without is the SDK's behaviour.
			p.GetLogger(ctx).Warningf("The SSH server does not accept the environment variable %q: %v; %s, or set "+
				"addPreviousOutputInEnv to false.", name, err, remedy)
		}
	}
	return nil
}

// execute runs the command until it has ended. When the context ends first, the command is told to end and, if it
// takes too long, the connection is closed. OpenSSH passes the signal on for every user but root; root's command goes on
// until it next writes to the closed connection, for which SSH has no remedy.
func execute(ctx context.Context, client *ssh.Client, session *ssh.Session, command, stdin string) error {
	in, err := session.StdinPipe()
	if err != nil {
		return err
	}
	if err := session.Start(command); err != nil {
		return err
	}
	// A command need not read its input, so a failed write is no failure; how the command ends decides.
	go func() {
		_, _ = io.WriteString(in, stdin)
		_ = in.Close()
	}()
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = session.Signal(ssh.SIGTERM) // fails only where the connection is gone already
	select {
	case err = <-ended:
	case <-time.After(terminateGrace):
		err = errors.Join(client.Close(), <-ended)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}
