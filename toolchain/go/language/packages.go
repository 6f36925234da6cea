package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// required returns what the Pulumi SDKs installed in a Python say of their plugins, sorted by folder.
//
// Every SDK carries a pulumi-plugin.json in its folder; reading those files takes a millisecond where listing packages
// with pip takes a third of a second on every run. An SDK installed elsewhere (editable) is not seen: its plugin is
// then asked for when its first resource is registered.
func required(ctx context.Context, python toolchain.Toolchain) ([]*plugin.PulumiPluginJSON, error) {
	folders, err := sitePackages(ctx, python)
	if err != nil {
		return nil, err
	}
	var found []*plugin.PulumiPluginJSON
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*", "pulumi-plugin.json"))
		if err != nil {
			return nil, err
		}
		sort.Strings(files)
		for _, file := range files {
			told, err := plugin.LoadPulumiPluginJSON(file)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			if !told.Resource {
				continue
			}
			if err := complete(told, filepath.Dir(file)); err != nil {
				return nil, err
			}
			found = append(found, told)
		}
	}
	return found, nil
}

// complete fills in the name and version a pulumi-plugin.json may leave to its package.
func complete(told *plugin.PulumiPluginJSON, folder string) error {
	module := filepath.Base(folder)
	if told.Name == "" {
		told.Name = strings.ReplaceAll(strings.TrimPrefix(module, "pulumi_"), "_", "-")
	}
	if told.Version == "" {
		records, err := filepath.Glob(filepath.Join(filepath.Dir(folder), module+"-*.dist-info"))
		if err != nil {
			return err
		}
		if len(records) == 1 {
			told.Version = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(records[0]), module+"-"), ".dist-info")
		}
	}
	if told.Version != "" {
		version, err := semver.ParseTolerant(told.Version)
		if err != nil {
			return fmt.Errorf("the plugin version %q of %s is not a semantic version: %w", told.Version, folder, err)
		}
		told.Version = "v" + version.String()
	}
	return nil
}

// sitePackages returns the folders that a Python installs packages into.
func sitePackages(ctx context.Context, python toolchain.Toolchain) ([]string, error) {
	environment, err := python.VirtualEnvPath(ctx)
	if err != nil {
		return nil, err
	}
	if environment != "" {
		folders, err := filepath.Glob(filepath.Join(environment, "lib", "python3*", "site-packages"))
		if err != nil || len(folders) > 0 {
			return folders, err
		}
	}
	command, err := python.Command(ctx, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
	if err != nil {
		return nil, err
	}
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its packages' folder: %w", command.Path, err)
	}
	folder := strings.TrimSpace(string(output))
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return []string{folder}, nil
}
