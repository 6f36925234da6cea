// Package lifecycle holds the properties that a local and a remote Command share: what runs, and when.
package lifecycle

import "github.com/pulumi/pulumi-go-provider/infer"

// Inputs are the commands of the three steps of a resource's life, and the values that start it anew.
type Inputs struct {
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create   *string `pulumi:"create,optional"`
	Delete   *string `pulumi:"delete,optional"`
	Update   *string `pulumi:"update,optional"`
}

// Annotate describes the fields in the schema.
func (in *Inputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Triggers, "Values of any type. A change of one of them replaces the resource: `create` runs, then "+
		"`delete` with the old state.")
	a.Describe(&in.Create, "The command to run when the resource is created, and when another input than `triggers` "+
		"changes while there is no `update`.")
	a.Describe(&in.Delete, "The command to run when the resource is deleted.")
	a.Describe(&in.Update, "The command to run when an input other than `triggers` changes; `create` by default.")
}

// OnUpdate is the command that a change of inputs runs, nil for none.
func (in *Inputs) OnUpdate() *string {
	if in.Update != nil {
		return in.Update
	}
	return in.Create
}
