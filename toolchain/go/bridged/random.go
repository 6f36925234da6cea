package bridged

import (
	random "github.com/terraform-providers/terraform-provider-random/upstream"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
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
	}
	mapRest(&info, "random_", "Random")
	return info
}
