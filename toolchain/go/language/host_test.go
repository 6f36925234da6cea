package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/structpb"
)

// project returns a project whose virtual environment `venv` holds the given files of site-packages.
func project(t *testing.T, installed map[string]string) *pulumirpc.ProgramInfo {
	t.Helper()
	root := t.TempDir()
	packages := filepath.Join(root, "venv", "lib", "python3.11", "site-packages")
	write(t, filepath.Join(root, "venv", "bin", "python"), "#!/bin/sh\nexit 0\n", 0o755)
	for name, text := range installed {
		write(t, filepath.Join(packages, name), text, 0o600)
	}
	return &pulumirpc.ProgramInfo{
		RootDirectory: root, ProgramDirectory: root, EntryPoint: ".", Options: options(t, map[string]any{"virtualenv": "venv"}),
	}
}

func options(t *testing.T, values map[string]any) *structpb.Struct {
	t.Helper()
	made, err := structpb.NewStruct(values)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestRequiredPluginsAreThoseOfTheInstalledSDKs(t *testing.T) {
	info := project(t, map[string]string{
		"pulumi_docker/pulumi-plugin.json":      `{"resource": true, "name": "docker", "version": "5.2.0"}`,
		"pulumi_aws/pulumi-plugin.json":         `{"resource": false, "name": "aws", "version": "7.51.1"}`,
		"pulumi_azure_ad/pulumi-plugin.json":    `{"resource": true, "server": "https://example.com"}`,
		"pulumi_azure_ad-6.1.dist-info/RECORD":  "",
		"requests/__init__.py":                  "",
		"pulumi_docker-9.9.9.dist-info/RECORD":  "",
		"pulumi_random/not-a-plugin-at-all.txt": "",
	})
	answer, err := (&host{}).GetRequiredPackages(t.Context(), &pulumirpc.GetRequiredPackagesRequest{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range answer.Packages {
		got = append(got, strings.Join([]string{p.Kind, p.Name, p.Version, p.Server}, " "))
	}
	want := []string{"resource azure-ad v6.1.0 https://example.com", "resource docker v5.2.0 "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestABrokenPluginFileIsNamed(t *testing.T) {
	info := project(t, map[string]string{"pulumi_docker/pulumi-plugin.json": `{"resource": tru`})
	_, err := (&host{}).GetRequiredPackages(t.Context(), &pulumirpc.GetRequiredPackagesRequest{Info: info})
	if err == nil || !strings.Contains(err.Error(), "pulumi_docker/pulumi-plugin.json") {
		t.Errorf("got %v, want the file's path", err)
	}
}

func TestOptionsAreCheckedByName(t *testing.T) {
	for _, one := range []struct {
		name  string
		value any
	}{
		{"toolchain", "conda"}, {"toolchain", "auto"}, {"typechecker", "pytype"}, {"typechecker", "none"}, {"virtualenv", 3},
	} {
		_, _, err := resolve(&pulumirpc.ProgramInfo{Options: options(t, map[string]any{one.name: one.value})}, false)
		if err == nil || !strings.Contains(err.Error(), one.name) {
			t.Errorf("%s=%v: got %v, want an error that names the option", one.name, one.value, err)
		}
	}
}

func TestOptionsOfOthersAreLeftAlone(t *testing.T) {
	info := &pulumirpc.ProgramInfo{Options: options(t, map[string]any{"toolchain": "pip", "colour": 3})}
	if _, _, err := resolve(info, false); err != nil {
		t.Error(err)
	}
}

func TestAPluginHasAnEnvironmentOfItsOwnAndAProgramNeedNot(t *testing.T) {
	for _, given := range []map[string]any{{}, {"toolchain": "pip"}} {
		for plugin, want := range map[bool]string{false: "", true: "venv"} {
			_, resolved, err := resolve(&pulumirpc.ProgramInfo{ProgramDirectory: t.TempDir(), Options: options(t, given)}, plugin)
			if err != nil || resolved.Virtualenv != want {
				t.Errorf("plugin %v, options %v: got %q, %v, want %q", plugin, given, resolved.Virtualenv, err, want)
			}
		}
	}
}

// runChecked starts a program whose project names mypy, under a Python that has the given packages.
func runChecked(t *testing.T, installed, report string) (answer *pulumirpc.RunResponse, calls string) {
	t.Helper()
	info := project(t, nil)
	info.Options = options(t, map[string]any{"virtualenv": "venv", "typechecker": "mypy"})
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("RECORD", record)
	write(t, filepath.Join(info.RootDirectory, "venv", "bin", "python"), `#!/bin/sh
echo "$(pwd) $*" >> "$RECORD"
case "$2" in
pip) echo '[`+installed+`]' ;;
mypy) `+report+` ;;
esac
`, 0o755)
	answer, err := (&host{executor: "/sdk/executor"}).Run(t.Context(), &pulumirpc.RunRequest{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	return answer, strings.ReplaceAll(string(text), info.RootDirectory, "ROOT")
}

func TestATypeCheckerThatIsNotInstalledIsNamedAndNothingRuns(t *testing.T) {
	answer, calls := runChecked(t, `{"name": "pulumi", "version": "3.0.0"}`, "exit 0")
	if !strings.Contains(answer.Error, "mypy") || !strings.Contains(answer.Error, "requirements") {
		t.Errorf("got %q, want the name of the type checker and the remedy", answer.Error)
	}
	if strings.Contains(calls, "-m mypy") || strings.Contains(calls, "executor") {
		t.Errorf("started: %s", calls)
	}
}

func TestATypeCheckerChecksTheProjectWithoutItsEnvironment(t *testing.T) {
	answer, calls := runChecked(t, `{"name": "mypy", "version": "1.0.0"}`, "exit 0")
	if answer.Error != "" {
		t.Error(answer.Error)
	}
	if !strings.Contains(calls, "ROOT -m mypy --exclude venv ROOT\n") || !strings.Contains(calls, "-u /sdk/executor") {
		t.Errorf("started: %s", calls)
	}
}

func TestWhatATypeCheckerFindsIsTheErrorAndNothingRuns(t *testing.T) {
	answer, calls := runChecked(t, `{"name": "mypy", "version": "1.0.0"}`, "echo found-this; exit 1")
	if !strings.Contains(answer.Error, "found-this") || strings.Contains(calls, "executor") {
		t.Errorf("got %q, started: %s", answer.Error, calls)
	}
}

// runWith starts a program under a stand-in for Python: a shell script that gets the executor's path and arguments.
func runWith(t *testing.T, script string) (*pulumirpc.RunResponse, string) {
	t.Helper()
	info := project(t, nil)
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("RECORD", record)
	write(t, filepath.Join(info.RootDirectory, "venv", "bin", "python"), "#!/bin/sh\n"+script+"\n", 0o755)
	answer, err := (&host{engine: "127.0.0.1:7", executor: "/sdk/executor"}).Run(t.Context(), &pulumirpc.RunRequest{
		Info: info, MonitorAddress: "127.0.0.1:8", Project: "p", Stack: "s", Pwd: "/w", DryRun: true, Parallel: 4,
		Organization: "o", Config: map[string]string{"p:a": "1"}, ConfigSecretKeys: []string{"p:b"}, Args: []string{"x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(record)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return answer, strings.ReplaceAll(string(text), info.RootDirectory, "ROOT")
}

func TestAProgramGetsItsArgumentsConfigurationAndEnvironment(t *testing.T) {
	answer, got := runWith(t, `echo "$@" "$PULUMI_CONFIG" "$PULUMI_CONFIG_SECRET_KEYS" "$VIRTUAL_ENV" > "$RECORD"`)
	if answer.Error != "" || answer.Bail {
		t.Errorf("got %v", answer)
	}
	want := "-u /sdk/executor --monitor 127.0.0.1:8 --engine 127.0.0.1:7 --project p --root_directory ROOT --stack s" +
		` --pwd /w --dry_run true --parallel 4 --organization o . x {"p:a":"1"} ["p:b"] ROOT/venv` + "\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestHowAProgramEnded(t *testing.T) {
	if answer, _ := runWith(t, "exit 32"); !answer.Bail || answer.Error != "" {
		t.Errorf("already reported: got %v", answer)
	}
	if answer, _ := runWith(t, "exit 3"); !strings.HasSuffix(answer.Error, "exit code: 3") {
		t.Errorf("exit code 3: got %v", answer)
	}
	if answer, _ := runWith(t, "kill -9 $$"); !strings.Contains(answer.Error, "killed") {
		t.Errorf("killed: got %v", answer)
	}
}

func TestAMissingVirtualEnvironmentIsNamed(t *testing.T) {
	info := &pulumirpc.ProgramInfo{RootDirectory: t.TempDir(), Options: options(t, map[string]any{"virtualenv": "nowhere"})}
	_, err := (&host{}).Run(t.Context(), &pulumirpc.RunRequest{Info: info})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want the path of the environment", err)
	}
}

func TestAboutStartsOnePython(t *testing.T) {
	info := project(t, nil)
	starts := filepath.Join(t.TempDir(), "starts")
	t.Setenv("STARTS", starts)
	// As `sys.version` goes on in releases of many kinds, and over several lines in some builds.
	write(t, filepath.Join(info.RootDirectory, "venv", "bin", "python"),
		"#!/bin/sh\necho \"$1 $2\" >> \"$STARTS\"\nprintf '%s\\n3.14.0rc2+ (main, Aug  1 2026)\\n[GCC]\\n' \"$0\"\n", 0o755)
	answer, err := (&host{}).About(t.Context(), &pulumirpc.AboutRequest{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(info.RootDirectory, "venv", "bin", "python"); answer.Executable != want {
		t.Errorf("executable: got %q, want %q", answer.Executable, want)
	}
	if want := "3.14.0-rc.2"; answer.Version != want {
		t.Errorf("version: got %q, want %q", answer.Version, want)
	}
	text, err := os.ReadFile(starts)
	if err != nil {
		t.Fatal(err)
	}
	if want := "-I -S\n"; string(text) != want {
		t.Errorf("started with %q, want %q", text, want)
	}
}

func TestAboutSaysWhatTheSDKSays(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no Python to ask")
	}
	info := &pulumirpc.ProgramInfo{RootDirectory: t.TempDir(), Options: options(t, map[string]any{"toolchain": "pip"})}
	python, _, err := resolve(info, false)
	if err != nil {
		t.Fatal(err)
	}
	want, err := python.About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&host{}).About(t.Context(), &pulumirpc.AboutRequest{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	if got.Executable != want.PythonExecutable || got.Version != want.PythonVersion.String() {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAPythonThatCannotSayWhatItIsIsNamed(t *testing.T) {
	info := project(t, nil)
	python := filepath.Join(info.RootDirectory, "venv", "bin", "python")
	write(t, python, "#!/bin/sh\nexit 1\n", 0o755)
	if _, err := (&host{}).About(t.Context(), &pulumirpc.AboutRequest{Info: info}); err == nil ||
		!strings.Contains(err.Error(), python) {
		t.Errorf("got %v, want the path of the Python", err)
	}
}
