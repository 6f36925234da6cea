// Package bridged maps Terraform providers, as their own modules publish them, onto the tokens and property names of
// the Pulumi SDKs that user programs are written against.
package bridged

import (
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge/tokens"
)

// The SDKs' documented autonaming: the logical name, a dash and seven random characters, within 255 in all.
const (
	maxNameLength = 255
	nameSeparator = "-"
)

// mapRest gives every resource and data source without an explicit token the standard one in the single module
// `index`; typePrefix goes before the type's name.
func mapRest(info *tfbridge.ProviderInfo, terraformPrefix, typePrefix string) {
	standard := tokens.MakeStandard(info.Name)
	info.MustComputeTokens(tokens.SingleModule(terraformPrefix, "index", func(module, name string) (string, error) {
		return standard(module, typePrefix+name)
	}))
}

// noMetadata stands for the bridge's record of earlier releases (aliases, moved tokens): there are none to keep.
func noMetadata() *tfbridge.MetadataInfo {
	return tfbridge.NewProviderMetadata([]byte("{}"))
}
