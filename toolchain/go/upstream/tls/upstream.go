// Package upstream hands out the Terraform tls provider, whose constructor is internal to its module.
package upstream

import (
	framework "github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-provider-tls/internal/provider"
)

// New returns a fresh provider.
func New() framework.Provider {
	return provider.New()
}
