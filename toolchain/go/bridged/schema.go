package bridged

import (
	"fmt"
	"io"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
)

// Schema works out a provider's Pulumi package schema. Programs never ask for it (their SDK is generated already), so
// it is made on demand rather than stored. The generator's remarks on documentation go nowhere: there is none to write.
func Schema(info tfbridge.ProviderInfo) (schema.PackageSpec, error) {
	made, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo:    info,
		DiagnosticsSink: diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never}),
	})
	if err != nil {
		return schema.PackageSpec{}, fmt.Errorf("schema of %s: %w", info.Name, err)
	}
	return made.PackageSpec, nil
}
