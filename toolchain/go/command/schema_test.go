package command_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"

	"reflector/toolchain/command"
)

// sdkSurface is what testdata/derive_sdk.py reads from the PyPI SDK: by token, the type of each property, with "?" after
// it where it is optional.
type sdkSurface struct {
	Package   string
	Version   string
	Resources map[string]struct {
		Inputs, Outputs                 map[string]string
		ReplaceOnChanges, SecretOutputs []string
		Deprecated                      bool
	}
	Functions map[string]struct{ Inputs, Outputs map[string]string }
	Types     map[string]struct {
		Properties map[string]string
		Defaults   map[string]any
	}
	Enums map[string][]string
}

func typeName(t schema.TypeSpec) string {
	switch {
	case strings.HasPrefix(t.Ref, "#/types/"):
		return strings.TrimPrefix(t.Ref, "#/types/")
	case strings.HasPrefix(t.Ref, "pulumi.json#/"):
		return strings.ToLower(strings.TrimPrefix(t.Ref, "pulumi.json#/"))
	case t.Type == "array":
		return "array<" + typeName(*t.Items) + ">"
	case t.Type == "object" && t.AdditionalProperties != nil:
		return "map<" + typeName(*t.AdditionalProperties) + ">"
	}
	return t.Type
}

func surface(properties map[string]schema.PropertySpec, required []string) map[string]string {
	found := map[string]string{}
	for name, p := range properties {
		found[name] = typeName(p.TypeSpec)
		if !slices.Contains(required, name) {
			found[name] += "?"
		}
	}
	return found
}

func same[V comparable](t *testing.T, what string, got, want map[string]V) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s:\n the schema has %v\n the SDK has    %v", what, got, want)
	}
}

func tokens[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func TestSchemaMatchesTheSDK(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/sdk.json")
	if err != nil {
		t.Fatal(err)
	}
	var sdk sdkSurface
	if err := json.Unmarshal(text, &sdk); err != nil {
		t.Fatal(err)
	}
	spec, err := p.GetSchema(t.Context(), command.Name, sdk.Version, command.NewProvider())
	if err != nil {
		t.Fatal(err)
	}
	if "pulumi_"+spec.Name != sdk.Package || spec.Version != sdk.Version {
		t.Errorf("the schema is of %s %s, the SDK is %s %s", spec.Name, spec.Version, sdk.Package, sdk.Version)
	}
	// Binding demands what every SDK generator does: resolvable references, valid names, no duplicates.
	if _, diags, err := schema.BindSpec(spec, schema.NewNullLoader(), schema.ValidationOptions{}); err != nil || diags.HasErrors() {
		t.Errorf("the schema is not valid: %v %v", err, diags)
	}

	if got, want := tokens(spec.Resources), tokens(sdk.Resources); !slices.Equal(got, want) {
		t.Fatalf("the schema has the resources %q, the SDK %q", got, want)
	}
	for token, want := range sdk.Resources {
		r := spec.Resources[token]
		same(t, token+" inputs", surface(r.InputProperties, r.RequiredInputs), want.Inputs)
		same(t, token+" outputs", surface(r.Properties, r.Required), want.Outputs)
		if got := r.DeprecationMessage != ""; got != want.Deprecated {
			t.Errorf("%s: deprecated is %v, want %v", token, got, want.Deprecated)
		}
		var replaces, secrets []string
		for _, name := range tokens(r.Properties) {
			if r.InputProperties[name].ReplaceOnChanges {
				replaces = append(replaces, name+"[*]")
			}
			if r.Properties[name].Secret {
				secrets = append(secrets, name)
			}
		}
		if !slices.Equal(replaces, want.ReplaceOnChanges) {
			t.Errorf("%s: replaceOnChanges is %q, want %q", token, replaces, want.ReplaceOnChanges)
		}
		if !slices.Equal(secrets, want.SecretOutputs) {
			t.Errorf("%s: the secret outputs are %q, want %q", token, secrets, want.SecretOutputs)
		}
	}

	if got, want := tokens(spec.Functions), tokens(sdk.Functions); !slices.Equal(got, want) {
		t.Fatalf("the schema has the functions %q, the SDK %q", got, want)
	}
	for token, want := range sdk.Functions {
		f := spec.Functions[token]
		// The SDK declares every argument of a function optional and leaves it to the provider to miss one.
		same(t, token+" inputs", surface(f.Inputs.Properties, tokens(f.Inputs.Properties)), want.Inputs)
		same(t, token+" outputs", surface(f.ReturnType.ObjectTypeSpec.Properties, f.ReturnType.ObjectTypeSpec.Required), want.Outputs)
	}

	if got, want := tokens(spec.Types), append(tokens(sdk.Enums), tokens(sdk.Types)...); !equalSets(got, want) {
		t.Fatalf("the schema has the types %q, the SDK %q", got, want)
	}
	for token, want := range sdk.Types {
		s := spec.Types[token]
		same(t, token, surface(s.Properties, s.Required), want.Properties)
		defaults := map[string]any{}
		for name, p := range s.Properties {
			if p.Default != nil {
				defaults[name] = p.Default
			}
			isKey := slices.Contains([]string{"password", "privateKey", "privateKeyPassword"}, name)
			if p.Secret != isKey {
				t.Errorf("%s: %s is secret: %v", token, name, p.Secret)
			}
		}
		same(t, token+" defaults", defaults, want.Defaults)
	}
	for token, want := range sdk.Enums {
		var got []string
		for _, e := range spec.Types[token].Enum {
			got = append(got, e.Value.(string))
		}
		if !equalSets(got, want) {
			t.Errorf("%s is %q, want %q", token, got, want)
		}
	}
}

func TestSchemaDescribesEverything(t *testing.T) {
	t.Parallel()
	spec, err := p.GetSchema(t.Context(), command.Name, "1.2.1", command.NewProvider())
	if err != nil {
		t.Fatal(err)
	}
	for token, r := range spec.Resources {
		if r.Description == "" {
			t.Errorf("%s has no description", token)
		}
		for name, p := range r.Properties {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", token, name)
			}
		}
	}
	for token, s := range spec.Types {
		for name, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", token, name)
			}
		}
	}
}

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
