// Package upstream hands out the Terraform docker provider, whose constructor is internal to its module.
package upstream

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// New returns a fresh provider that reports the given version to the daemon and registries.
func New(version string) *schema.Provider {
	return provider.New(version)()
}
