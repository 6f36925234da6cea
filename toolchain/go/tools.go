//go:build tools

// Package toolchain pins what is built here straight from its own module.
package toolchain

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
