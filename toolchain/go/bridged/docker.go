package bridged

import (
	docker "github.com/terraform-providers/terraform-provider-docker/upstream"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
)

// Docker maps the Terraform docker provider onto the tokens and properties of the Pulumi SDK for docker.
//
// The native `Image` resource of the official plugin is not part of the Terraform provider: RemoteImage builds too.
func Docker(version string) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            shimv2.NewProvider(docker.New(version)),
		Name:         "docker",
		Version:      version,
		DisplayName:  "Docker",
		Homepage:     "https://pulumi.io",
		License:      "Apache-2.0",
		Repository:   "https://github.com/pulumi/pulumi-docker",
		MetadataInfo: noMetadata(),
		Config: map[string]*tfbridge.SchemaInfo{
			"host": {
				MarkAsOptional: tfbridge.True(),
				Default:        &tfbridge.DefaultInfo{EnvVars: []string{"DOCKER_HOST"}},
			},
			"registry_auth": {Name: "registryAuth"},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_config": {Tok: "docker:index/serviceConfig:ServiceConfig"},
			"docker_container": {
				Tok: "docker:index/container:Container",
				Fields: map[string]*tfbridge.SchemaInfo{
					"command":           {Name: "command"},
					"networks_advanced": {Name: "networksAdvanced"},
				},
				// Names, published ports and volumes cannot be held by the old and the new container at once.
				DeleteBeforeReplace: true,
			},
			"docker_image": {
				Tok: "docker:index/remoteImage:RemoteImage",
				// An image name is an address in a registry: a random suffix would make it another image.
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
		},
		DataSources: map[string]*tfbridge.DataSourceInfo{
			"docker_image": {Tok: "docker:index/getRemoteImage:getRemoteImage"},
		},
	}
	mapRest(&info, "docker_", "")
	info.SetAutonaming(maxNameLength, nameSeparator)
	return info
}
