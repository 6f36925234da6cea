package bridged

import (
	tls "github.com/hashicorp/terraform-provider-tls/upstream"

	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

// TLS maps the Terraform tls provider onto the tokens and properties of the Pulumi SDK for tls.
func TLS(version string) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            pf.ShimProvider(tls.New()),
		Name:         "tls",
		Version:      version,
		DisplayName:  "TLS",
		Homepage:     "https://pulumi.io",
		License:      "Apache-2.0",
		Repository:   "https://github.com/pulumi/pulumi-tls",
		MetadataInfo: noMetadata(),
	}
	mapRest(&info, "tls_", "")
	return info
}
