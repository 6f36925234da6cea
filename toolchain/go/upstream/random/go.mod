module github.com/terraform-providers/terraform-provider-random/upstream

go 1.25.11

require (
	github.com/hashicorp/terraform-plugin-framework v1.19.0
	github.com/terraform-providers/terraform-provider-random v0.0.0
)
