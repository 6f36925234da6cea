// Package upstream hands out the Terraform random provider, whose constructor is internal to its module.
package upstream

import (
	framework "github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/terraform-providers/terraform-provider-random/internal/provider"
)

// New returns a fresh provider.
func New() framework.Provider {
	return provider.New()
}
