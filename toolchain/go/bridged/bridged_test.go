package bridged

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// token is what an SDK sends to and expects of one resource or function; sdk_shapes.py explains the shapes.
type token struct {
	Inputs  map[string]any `json:"inputs"`
	Outputs map[string]any `json:"outputs"`
	Secrets []string       `json:"secrets"`
}

// shape turns a type of a schema into the form of sdk_shapes.json; required names are marked for inputs only.
func shape(t *testing.T, pkg schema.PackageSpec, spec schema.TypeSpec, input bool) any {
	t.Helper()
	if name, nested := strings.CutPrefix(spec.Ref, "#/types/"); nested {
		object, found := pkg.Types[name]
		if !found {
			t.Fatalf("%s is not in the schema", spec.Ref)
		}
		if !input {
			return properties(t, pkg, object.Properties, nil, false)
		}
		return properties(t, pkg, object.Properties, object.Required, true)
	}
	switch spec.Type {
	case "string":
		return "str"
	case "integer":
		return "int"
	case "number":
		return "float"
	case "boolean":
		return "bool"
	case "array":
		return []any{shape(t, pkg, *spec.Items, input)}
	case "object":
		return map[string]any{"*": shape(t, pkg, *spec.AdditionalProperties, input)}
	}
	t.Fatalf("no shape is known for %+v", spec)
	return nil
}

func properties(
	t *testing.T, pkg schema.PackageSpec, specs map[string]schema.PropertySpec, required []string, input bool,
) map[string]any {
	t.Helper()
	shapes := map[string]any{}
	for name, property := range specs {
		if slices.Contains(required, name) {
			name += "!"
		}
		shapes[name] = shape(t, pkg, property.TypeSpec, input)
	}
	return shapes
}

func tokensOf(t *testing.T, info tfbridge.ProviderInfo) map[string]token {
	t.Helper()
	pkg, err := Schema(info)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]token{
		"pulumi:providers:" + info.Name: {Inputs: properties(t, pkg, pkg.Provider.InputProperties, pkg.Provider.RequiredInputs, true)},
	}
	for name, resource := range pkg.Resources {
		secrets := []string{}
		for property, spec := range resource.Properties {
			if spec.Secret {
				secrets = append(secrets, property)
			}
		}
		slices.Sort(secrets)
		all[name] = token{
			Inputs:  properties(t, pkg, resource.InputProperties, resource.RequiredInputs, true),
			Outputs: properties(t, pkg, resource.Properties, nil, false),
			Secrets: secrets,
		}
	}
	for name, function := range pkg.Functions {
		if name == "pulumi:providers:"+info.Name+"/terraformConfig" {
			continue // A method of every bridged provider that hands its settings to Terraform modules.
		}
		one := token{Inputs: map[string]any{}}
		if function.Inputs != nil {
			// Every argument of a function is optional in Python, so the SDK cannot tell which are required.
			one.Inputs = properties(t, pkg, function.Inputs.Properties, nil, true)
		}
		if function.Outputs != nil {
			one.Outputs = properties(t, pkg, function.Outputs.Properties, nil, false)
		}
		all[name] = one
	}
	return all
}

// difference lists where two shapes part, by path.
func difference(path string, want, got any) []string {
	if w, ok := want.(map[string]any); ok {
		if g, ok := got.(map[string]any); ok {
			var found []string
			for name, inner := range w {
				found = append(found, difference(path+"."+name, inner, g[name])...)
			}
			for name := range g {
				if _, known := w[name]; !known {
					found = append(found, path+"."+name+": not in the SDK")
				}
			}
			slices.Sort(found)
			return found
		}
	}
	if w, ok := want.([]any); ok {
		if g, ok := got.([]any); ok {
			return difference(path+"[]", w[0], g[0])
		}
	}
	if reflect.DeepEqual(want, got) {
		return nil
	}
	shown := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	return []string{path + ": the SDK expects " + shown(want) + ", the provider has " + shown(got)}
}

func TestEveryTokenAndPropertyIsWhatTheSDKExpects(t *testing.T) {
	text, err := os.ReadFile("testdata/sdk_shapes.json")
	if err != nil {
		t.Fatal(err)
	}
	var sdk map[string]token
	if err := json.Unmarshal(text, &sdk); err != nil {
		t.Fatal(err)
	}
	provider := map[string]token{}
	for _, info := range []tfbridge.ProviderInfo{Docker("1.0.0"), TLS("1.0.0"), Random("1.0.0")} {
		for name, one := range tokensOf(t, info) {
			provider[name] = one
		}
	}
	for name, want := range sdk {
		got, found := provider[name]
		if !found {
			t.Errorf("%s: missing", name)
			continue
		}
		for _, line := range difference(name+" inputs", want.Inputs, got.Inputs) {
			t.Error(line)
		}
		for _, line := range difference(name+" outputs", want.Outputs, got.Outputs) {
			t.Error(line)
		}
		if !slices.Equal(want.Secrets, got.Secrets) {
			t.Errorf("%s: the SDK expects the secrets %v, the provider has %v", name, want.Secrets, got.Secrets)
		}
	}
	for name := range provider {
		if _, known := sdk[name]; !known {
			t.Errorf("%s: not in the SDK", name)
		}
	}
}

func TestAContainerMakesRoomForItsReplacement(t *testing.T) {
	if !Docker("1.0.0").Resources["docker_container"].DeleteBeforeReplace {
		t.Error("two containers cannot hold one name: delete before replace")
	}
}

func TestRandomBytesHaveTheIDTheOfficialPluginGivesThem(t *testing.T) {
	id := Random("1.0.0").Resources["random_bytes"].ComputeID
	value := resource.NewProperty("q83v")
	for _, state := range []resource.PropertyMap{{"base64": value}, {"base64": resource.MakeSecret(value)}} {
		if got, err := id(t.Context(), state); err != nil || got != "q83v" {
			t.Errorf("got %q, %v, want the bytes in base64", got, err)
		}
	}
	if got, err := id(t.Context(), resource.PropertyMap{}); err == nil {
		t.Errorf("without a value: got %q, want an error", got)
	}
}
