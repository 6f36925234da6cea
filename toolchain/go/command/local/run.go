package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/glob"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"reflector/toolchain/command/internal/output"
)

// How long a cancelled command has to clean up after SIGTERM before SIGKILL, and how long its pipes may then stay open
// in processes that left its group.
const (
	terminateGrace = 5 * time.Second
	closeGrace     = time.Second
)

// run runs one command to its end and puts what it left behind into out, whose previous content the command may see.
// On an error out is unchanged.
func run(ctx context.Context, command string, in BaseInputs, out *BaseOutputs) error {
	args := []string{"/bin/sh", "-c"}
	if in.Interpreter != nil && len(*in.Interpreter) > 0 {
		args = append([]string(nil), *in.Interpreter...)
	}
	args = append(args, command)

	dir, err := workingDirectory(in.Dir)
	if err != nil {
		return err
	}

	var mode string
	if in.Logging != nil {
		mode = string(*in.Logging)
	}
	rec := output.NewRecorder(ctx, mode)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = environment(in, *out)
	cmd.SysProcAttr = processGroup()
	err = execute(ctx, cmd, in.Stdin, rec)
	rec.Finish()
	if errors.Is(err, syscall.E2BIG) {
		err = fmt.Errorf("%w (the command with its environment is too large; the output of the run before it is part of "+
			"the environment unless addPreviousOutputInEnv is false)", err)
	}
	if err != nil {
		return rec.Failure(ctx, command, err)
	}

	result := BaseOutputs{Stdout: rec.Stdout.Text(), Stderr: rec.Stderr.Text()}
	if in.AssetPaths != nil {
		assets, err := collectFiles(dir, *in.AssetPaths)
		if err != nil {
			return fmt.Errorf("assetPaths: %w", err)
		}
		result.Assets = &assets
	}
	if in.ArchivePaths != nil {
		files, err := collectFiles(dir, *in.ArchivePaths)
		if err != nil {
			return fmt.Errorf("archivePaths: %w", err)
		}
		members := make(map[string]any, len(files))
		for name, file := range files {
			members[name] = file.Asset
		}
		if result.Archive, err = resource.NewAssetArchive(members); err != nil {
			return fmt.Errorf("archivePaths: %w", err)
		}
	}
	*out = result
	return nil
}

// workingDirectory is the given one, or that of this process, which the engine starts in the directory of the program.
func workingDirectory(given *string) (string, error) {
	if given == nil {
		return os.Getwd()
	}
	// Without this check a missing directory is reported as a missing interpreter.
	info, err := os.Stat(*given)
	if err != nil {
		return "", fmt.Errorf("dir: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("dir: %q is not a directory", *given)
	}
	return *given, nil
}

// environment is that of this process, then the inputs', then the previous output: of two equal names the last counts.
func environment(in BaseInputs, previous BaseOutputs) []string {
	env := os.Environ()
	if in.Environment != nil {
		for name, value := range *in.Environment {
			env = append(env, name+"="+value)
		}
	}
	if in.AddPreviousOutputInEnv == nil || *in.AddPreviousOutputInEnv {
		if previous.Stdout != "" {
			env = append(env, output.PreviousStdout+"="+previous.Stdout)
		}
		if previous.Stderr != "" {
			env = append(env, output.PreviousStderr+"="+previous.Stderr)
		}
	}
	return env
}

// execute runs the command until it has ended and its output is closed. When the context ends first, so does the
// command's whole process group.
func execute(ctx context.Context, cmd *exec.Cmd, stdin *string, rec *output.Recorder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	var in io.WriteCloser
	if stdin != nil && *stdin != "" {
		if in, err = cmd.StdinPipe(); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if in != nil {
		// A command need not read its input, so a broken pipe here is no failure; how it ends decides.
		go func() {
			_, _ = io.WriteString(in, *stdin)
			_ = in.Close()
		}()
	}

	var copying sync.WaitGroup
	for from, to := range map[io.Reader]*output.Stream{stdout: rec.Stdout, stderr: rec.Stderr} {
		// A read fails only once the pipe is closed under it, after a cancellation.
		copying.Go(func() { _, _ = io.Copy(to, from) })
	}
	ended := make(chan error, 1)
	go func() {
		copying.Wait()
		ended <- cmd.Wait()
	}()

	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err = end(cmd.Process.Pid, ended, func() {
		_ = stdout.Close()
		_ = stderr.Close()
	})
	if err == nil {
		return nil // it finished on its own in the same moment, or chose to succeed on SIGTERM
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// end ends a process group, ever more firmly, and returns how its leader ended.
func end(group int, ended <-chan error, closePipes func()) error {
	// Signals fail only when nobody is left to get them, which the wait then reports.
	_ = syscall.Kill(-group, syscall.SIGTERM)
	select {
	case err := <-ended:
		// The leader is gone; those it started may have ignored SIGTERM.
		_ = syscall.Kill(-group, syscall.SIGKILL)
		return err
	case <-time.After(terminateGrace):
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	select {
	case err := <-ended:
		return err
	case <-time.After(closeGrace):
	}
	closePipes()
	return <-ended
}

// collectFiles returns the files under dir that the patterns take, by slash-separated relative path.
func collectFiles(dir string, patterns []string) (map[string]*types.AssetOrArchive, error) {
	type rule struct {
		glob    glob.Glob
		exclude bool
	}
	rules := make([]rule, len(patterns))
	for i, pattern := range patterns {
		text, exclude := strings.CutPrefix(pattern, "!")
		compiled, err := glob.Compile(text, '/')
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		rules[i] = rule{compiled, exclude}
	}

	files := map[string]*types.AssetOrArchive{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		taken := false
		for _, r := range rules {
			if r.glob.Match(name) {
				taken = !r.exclude
			}
		}
		if entry.IsDir() || !taken {
			return nil
		}
		// A link to a file is a file here; a directory behind a link, a socket or a pipe cannot be read as one.
		full := path.Join(dir, name)
		if info, err := os.Stat(full); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			return nil
		}
		asset, err := resource.NewPathAsset(full)
		if err != nil {
			return err
		}
		files[name] = &types.AssetOrArchive{Asset: asset}
		return nil
	})
	return files, err
}
