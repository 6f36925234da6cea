package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"

	"reflector/toolchain/bridged"
)

func TestAnUnknownNameIsRefusedWithTheNamesThereAre(t *testing.T) {
	for _, called := range []string{"/plugins/pulumi-resource", "/plugins/pulumi-resource-aws", "docker"} {
		err := run([]string{called})
		if err == nil {
			t.Fatalf("%s: served", called)
		}
		for _, name := range []string{"command", "docker", "random", "tls"} {
			if !strings.Contains(err.Error(), "pulumi-resource-"+name) {
				t.Errorf("%s: %q does not offer pulumi-resource-%s", called, err, name)
			}
		}
	}
}

func TestAPluginWithoutAVersionDoesNotStart(t *testing.T) {
	err := run([]string{"/plugins/pulumi-resource-tls"})
	if err == nil || !strings.Contains(err.Error(), "build.py") {
		t.Errorf("got %v, want an error that names the build", err)
	}
}

func TestTheDockerPluginTellsItsSchema(t *testing.T) {
	answer, err := withSchema{info: bridged.Docker("1.2.3")}.GetSchema(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var told schema.PackageSpec
	if err := json.Unmarshal([]byte(answer.Schema), &told); err != nil {
		t.Fatal(err)
	}
	if _, found := told.Resources["docker:index/container:Container"]; told.Name != "docker" || !found {
		t.Errorf("the schema of %q has no container", told.Name)
	}
}
