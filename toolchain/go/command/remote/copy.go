package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/archive"
)

// CopyToRemote is the controller of command:remote:CopyToRemote.
type CopyToRemote struct{}

// Annotate describes the resource in the schema.
func (c *CopyToRemote) Annotate(a infer.Annotator) {
	a.Describe(&c, "A file or directory copied to another host over SFTP. It is copied again when its content or "+
		"`remotePath` changes, and stays there when the resource is deleted.")
}

// CopyToRemoteInputs are the properties a program sets.
type CopyToRemoteInputs struct {
	Connection *Connection          `pulumi:"connection"        provider:"secret"`
	Triggers   *[]any               `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Source     types.AssetOrArchive `pulumi:"source"`
	RemotePath string               `pulumi:"remotePath"`
}

// Annotate describes the fields in the schema.
func (in *CopyToRemoteInputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Connection, "How to reach and log in to the host.")
	a.Describe(&in.Triggers, "Values of any type. A change of one of them replaces the resource.")
	a.Describe(&in.Source, "The asset or archive to copy, as it is: a .tgz is not unpacked. A directory is copied with "+
		"all that is in it, over files that are there.")
	a.Describe(&in.RemotePath, "Where to copy to. Missing parent directories are made. Into an existing directory a file "+
		"or directory is copied under its own name, of a directory whose path ends in \"/\" only what is in it. An "+
		"existing file is overwritten by a file, and refused for a directory.")
}

// CopyToRemoteOutputs is the state: the inputs.
type CopyToRemoteOutputs struct{ CopyToRemoteInputs }

// Check demands exactly one source, unless it is not known yet.
func (*CopyToRemote) Check(
	ctx context.Context, req infer.CheckRequest,
) (infer.CheckResponse[CopyToRemoteInputs], error) {
	in, failures, err := infer.DefaultCheck[CopyToRemoteInputs](ctx, req.NewInputs)
	if source, given := req.NewInputs.GetOk("source"); err == nil && given && !source.HasComputed() &&
		(in.Source.Asset == nil) == (in.Source.Archive == nil) {
		failures = append(failures, p.CheckFailure{Property: "source", Reason: "must be one asset or one archive"})
	}
	return infer.CheckResponse[CopyToRemoteInputs]{Inputs: in, Failures: failures}, err
}

// Create copies the source. A preview copies nothing.
func (*CopyToRemote) Create(
	ctx context.Context, req infer.CreateRequest[CopyToRemoteInputs],
) (infer.CreateResponse[CopyToRemoteOutputs], error) {
	resp := infer.CreateResponse[CopyToRemoteOutputs]{Output: CopyToRemoteOutputs{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	if err := req.Inputs.copy(ctx); err != nil {
		return resp, err
	}
	var err error
	resp.ID, err = resource.NewUniqueHex("", 8, 0)
	return resp, err
}

// Update copies the source if its content or its place is another. A change of the connection alone copies nothing.
func (*CopyToRemote) Update(
	ctx context.Context, req infer.UpdateRequest[CopyToRemoteInputs, CopyToRemoteOutputs],
) (infer.UpdateResponse[CopyToRemoteOutputs], error) {
	resp := infer.UpdateResponse[CopyToRemoteOutputs]{Output: CopyToRemoteOutputs{req.Inputs}}
	if req.DryRun ||
		req.Inputs.hash() == req.State.hash() && req.Inputs.RemotePath == req.State.RemotePath {
		return resp, nil
	}
	return resp, req.Inputs.copy(ctx)
}

// hash identifies the content of the source. The engine computes it when the program registers the resource.
func (in *CopyToRemoteInputs) hash() string {
	if in.Source.Archive != nil {
		return in.Source.Archive.Hash
	}
	if in.Source.Asset != nil {
		return in.Source.Asset.Hash
	}
	return ""
}

func (in *CopyToRemoteInputs) copy(ctx context.Context) error {
	return upload(ctx, in.Connection, func(u uploader) error {
		if a := in.Source.Asset; a != nil {
			return u.asset(a, in.RemotePath)
		}
		if a := in.Source.Archive; a != nil {
			return u.archive(a, in.RemotePath)
		}
		return errors.New("source must be one asset or one archive")
	})
}

// CopyFile is the controller of command:remote:CopyFile, the predecessor of CopyToRemote.
type CopyFile struct{}

// Annotate describes the resource in the schema.
func (c *CopyFile) Annotate(a infer.Annotator) {
	a.Describe(&c, "A local file copied to another host over SFTP. Every change replaces the resource.")
	a.Deprecate(&c, "Use CopyToRemote.")
}

// CopyFileInputs are the properties a program sets.
type CopyFileInputs struct {
	Connection *Connection `pulumi:"connection"        provider:"secret"`
	Triggers   *[]any      `pulumi:"triggers,optional"`
	LocalPath  string      `pulumi:"localPath"`
	RemotePath string      `pulumi:"remotePath"`
}

// Annotate describes the fields in the schema.
func (in *CopyFileInputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Connection, "How to reach and log in to the host.")
	a.Describe(&in.Triggers, "Values of any type. A change of one of them replaces the resource.")
	a.Describe(&in.LocalPath, "The path of the file to copy.")
	a.Describe(&in.RemotePath, "The path of the copy. Its directory must exist.")
}

// CopyFileOutputs is the state: the inputs.
type CopyFileOutputs struct{ CopyFileInputs }

// Create copies the file. A preview copies nothing.
func (*CopyFile) Create(
	ctx context.Context, req infer.CreateRequest[CopyFileInputs],
) (infer.CreateResponse[CopyFileOutputs], error) {
	resp := infer.CreateResponse[CopyFileOutputs]{Output: CopyFileOutputs{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	err := upload(ctx, req.Inputs.Connection, func(u uploader) error {
		return u.localFile(req.Inputs.LocalPath, req.Inputs.RemotePath)
	})
	if err != nil {
		return resp, err
	}
	resp.ID, err = resource.NewUniqueHex("", 8, 0)
	return resp, err
}

// upload opens an SFTP session for the given work. When the context ends, so does the connection.
func upload(ctx context.Context, connection *Connection, work func(uploader) error) error {
	client, err := connection.Dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	// Concurrent writes may leave a file with a hole when one fails. A failed copy is an error here and every retry
	// writes the file anew, so that is never taken for a whole file.
	session, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
	if err != nil {
		err = fmt.Errorf("starting SFTP: %w", err)
	} else {
		defer session.Close()
		err = work(uploader{session})
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// uploader copies to one host. Paths there are slash-separated, whatever this machine uses.
type uploader struct{ sftp *sftp.Client }

func (u uploader) asset(a *resource.Asset, dest string) error {
	switch {
	case a.IsText():
		info, err := u.stat(dest)
		if err != nil {
			return err
		}
		if info != nil && info.IsDir() {
			return fmt.Errorf("remotePath %q is a directory; text has no file name of its own, so name the file", dest)
		}
		return u.writeMakingParents(strings.NewReader(a.Text), dest)
	case a.IsPath():
		return u.local(a.Path, dest)
	case a.IsURI():
		blob, err := a.Read()
		if err != nil {
			return fmt.Errorf("reading %s: %w", a.URI, err)
		}
		defer blob.Close()
		return u.download(blob, a.URI, dest)
	}
	return errors.New("source is an asset without text, path or URI")
}

func (u uploader) archive(a *resource.Archive, dest string) error {
	switch {
	case a.IsPath():
		return u.local(a.Path, dest)
	case a.IsURI():
		format, blob, err := a.ReadSourceArchive()
		if err != nil {
			return fmt.Errorf("reading %s: %w", a.URI, err)
		}
		if format == archive.NotArchive || blob == nil {
			return fmt.Errorf("%s is not an archive of a known format", a.URI)
		}
		defer blob.Close()
		return u.download(blob, a.URI, dest)
	case a.IsAssets():
		return u.members(a, dest)
	}
	return errors.New("source is an archive without assets, path or URI")
}

// local copies a file or a directory of this machine:
//
//	source | existing directory  | nothing there     | existing file
//	-------+---------------------+-------------------+--------------
//	dir    | dest/dir            | dest/dir          | refused
//	dir/   | what is in dir      | what is in dir    | refused
//	file   | dest/file           | dest              | overwritten
func (u uploader) local(source, dest string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := u.stat(dest)
	if err != nil {
		return err
	}
	name := filepath.Base(source)
	if !info.IsDir() {
		if there != nil && there.IsDir() {
			dest = path.Join(dest, name)
		}
		return u.localFileMakingParents(source, dest)
	}
	if !strings.HasSuffix(source, "/") {
		dest = path.Join(dest, name)
	}
	return fs.WalkDir(os.DirFS(source), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return u.directory(path.Join(dest, name))
		}
		return u.localFile(filepath.Join(source, name), path.Join(dest, name))
	})
}

// members copies an archive that was put together from assets, each member under its own name.
func (u uploader) members(a *resource.Archive, dest string) error {
	if err := u.directory(dest); err != nil {
		return err
	}
	reader, err := a.Open()
	if err != nil {
		return fmt.Errorf("opening the archive: %w", err)
	}
	defer reader.Close()
	for {
		name, blob, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		err = u.writeMakingParents(blob, path.Join(dest, filepath.ToSlash(name)))
		if err := errors.Join(err, blob.Close()); err != nil {
			return err
		}
	}
}

// download copies what a URI answered, into an existing directory under the last part of the URI's path.
func (u uploader) download(blob io.Reader, uri, dest string) error {
	info, err := u.stat(dest)
	if err != nil {
		return err
	}
	if info != nil && info.IsDir() {
		parsed, err := url.Parse(uri)
		if err != nil {
			return err
		}
		name := path.Base(parsed.Path)
		if name == "/" || name == "." {
			return fmt.Errorf("remotePath %q is a directory and %s names no file, so name the file", dest, uri)
		}
		dest = path.Join(dest, name)
	}
	return u.writeMakingParents(blob, dest)
}

// stat returns nil where nothing is.
func (u uploader) stat(name string) (fs.FileInfo, error) {
	info, err := u.sftp.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at remote path %q: %w", name, err)
	}
	return info, nil
}

// directory makes the directory, and its parents, unless it is there.
func (u uploader) directory(name string) error {
	info, err := u.stat(name)
	switch {
	case err != nil:
		return err
	case info == nil:
		if err := u.sftp.MkdirAll(name); err != nil {
			return fmt.Errorf("making remote directory %q: %w", name, err)
		}
	case !info.IsDir():
		return fmt.Errorf("remote path %q is there and is not a directory", name)
	}
	return nil
}

func (u uploader) localFileMakingParents(source, dest string) error {
	if err := u.directory(path.Dir(dest)); err != nil {
		return err
	}
	return u.localFile(source, dest)
}

func (u uploader) localFile(source, dest string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	return u.write(file, dest)
}

func (u uploader) writeMakingParents(content io.Reader, dest string) error {
	if err := u.directory(path.Dir(dest)); err != nil {
		return err
	}
	return u.write(content, dest)
}

// write makes or overwrites a file. The host's umask decides its mode, as it does with the official plugin.
func (u uploader) write(content io.Reader, dest string) error {
	file, err := u.sftp.Create(dest)
	if err != nil {
		return fmt.Errorf("making remote file %q: %w", dest, err)
	}
	_, err = file.ReadFrom(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing remote file %q: %w", dest, err)
	}
	return nil
}
