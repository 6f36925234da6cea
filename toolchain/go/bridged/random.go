package bridged

import (
	"context"
	"errors"

	random "github.com/terraform-providers/terraform-provider-random/upstream"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Random maps the Terraform random provider onto the tokens and properties of the Pulumi SDK for random.
func Random(version string) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            pf.ShimProvider(random.New()),
		Name:         "random",
		Version:      version,
		DisplayName:  "Random",
		Homepage:     "https://pulumi.io",
		License:      "Apache-2.0",
		Repository:   "https://github.com/pulumi/pulumi-random",
		MetadataInfo: noMetadata(),
		Resources: map[string]*tfbridge.ResourceInfo{
			// The one resource without an id of its own. The others of this provider, and those of docker and tls, have the
			// id Terraform gives them, here as in the official plugins.
			"random_bytes": {ComputeID: valueAsID},
		},
	}
	mapRest(&info, "random_", "Random")
	return info
}

// valueAsID is the id the official plugin gives random bytes: they themselves, in base64, although an id is in clear
// text wherever the state is. So no secret may be made of them, which a test of the deployed stack can only see with
// the same ids here.
func valueAsID(_ context.Context, state resource.PropertyMap) (resource.ID, error) {
	value := state["base64"]
	if value.IsSecret() {
		value = value.SecretValue().Element
	}
	if !value.IsString() {
		return "", errors.New("random bytes came back without their value in base64")
	}
	return resource.ID(value.StringValue()), nil
}
