package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"strata/internal/image"
)

// defaultContainerdSocket is where containerd listens.
const defaultContainerdSocket = "/run/containerd/containerd.sock"

// containerdNamespaces are those of ctr and nerdctl, of Kubernetes and of Docker.
var containerdNamespaces = []string{"default", "k8s.io", "moby"}

// openContainerd opens an image of containerd's content store, in the first of
// the namespaces that has it.
func openContainerd(ctx context.Context, ref string, o Options) ([]*image.Image, io.Closer, error) {
	socket := strings.TrimPrefix(o.ContainerdSocket, "unix://")
	if socket == "" {
		socket = defaultContainerdSocket
	}
	if !onDisk(socket) {
		return nil, nil, fmt.Errorf("no socket at %s: containerd does not run here", socket)
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, nil, err
	}
	images, err := containerdImages(ctx, conn, ref, o)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return images, conn, nil
}

func containerdImages(ctx context.Context, conn *grpc.ClientConn, ref string, o Options) ([]*image.Image, error) {
	namespaces := containerdNamespaces
	if o.ContainerdNamespace != "" {
		namespaces = []string{o.ContainerdNamespace}
	}
	for _, ns := range namespaces {
		target, err := containerdTarget(ctx, conn, ns, ref)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("containerd: %w", err)
		}
		s := &contentStore{namespace: ns, client: contentapi.NewContentClient(conn)}
		return newResolver(s, o).images(ctx, []v1.Descriptor{target})
	}
	return nil, fmt.Errorf("containerd has no such image in namespace %s: `ctr -n NAMESPACE images ls` lists what it has", strings.Join(namespaces, ", "))
}

// containerdTarget finds the descriptor of a name: as it is, else with the
// default registry and tag. It wraps fs.ErrNotExist when there is none.
func containerdTarget(ctx context.Context, conn *grpc.ClientConn, namespace, ref string) (v1.Descriptor, error) {
	ctx, cancel := context.WithTimeout(withNamespace(ctx, namespace), engineAnswer)
	defer cancel()
	client := imagesapi.NewImagesClient(conn)
	for _, n := range containerdNames(ref) {
		resp, err := client.Get(ctx, &imagesapi.GetImageRequest{Name: n})
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return v1.Descriptor{}, err
		}
		target := resp.GetImage().GetTarget()
		hash, err := v1.NewHash(target.GetDigest())
		if err != nil {
			return v1.Descriptor{}, err
		}
		return v1.Descriptor{MediaType: types.MediaType(target.GetMediaType()), Digest: hash, Size: target.GetSize()}, nil
	}
	return v1.Descriptor{}, fs.ErrNotExist
}

// containerdNames are the names by which containerd may know an image: it stores
// Docker Hub's with "docker.io" and "library", where go-containerregistry has the
// host that is spoken to.
func containerdNames(ref string) []string {
	names := []string{ref}
	if parsed, err := name.ParseReference(ref); err == nil {
		full := strings.Replace(parsed.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
		if full != ref {
			names = append(names, full)
		}
	}
	return names
}

// withNamespace sets the header by which containerd's services know theirs.
func withNamespace(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// contentStore is the store of containerd's content service.
type contentStore struct {
	namespace string
	client    contentapi.ContentClient
}

func (s *contentStore) manifest(ctx context.Context, d image.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, headerTimeout)
	defer cancel()
	r, err := s.blob(ctx, d, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readDocument(r)
}

func (s *contentStore) blob(ctx context.Context, d image.Digest, _ int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(withNamespace(ctx, s.namespace))
	stream, err := s.client.Read(ctx, &contentapi.ReadContentRequest{Digest: string(d)})
	if err != nil {
		cancel()
		return nil, s.explain(d, err)
	}
	// The first message tells whether the blob is there at all.
	r := &contentReader{stream: stream, cancel: cancel, store: s, digest: d}
	if err := r.receive(); err != nil && err != io.EOF {
		cancel()
		return nil, err
	}
	return r, nil
}

func (s *contentStore) explain(d image.Digest, err error) error {
	if status.Code(err) == codes.NotFound {
		return fmt.Errorf("blob %s is not in containerd's content store, namespace %s: containerd may keep unpacked layers only (discard_unpacked_layers), pull the image again: %w", d, s.namespace, fs.ErrNotExist)
	}
	return fmt.Errorf("blob %s: containerd: %w", d, err)
}

// contentReader reads the messages of a blob.
type contentReader struct {
	stream contentapi.Content_ReadClient
	cancel context.CancelFunc
	store  *contentStore
	digest image.Digest
	rest   []byte
	offset int64
	err    error
}

// receive reads the next message. Its error is kept in err, too.
func (r *contentReader) receive() error {
	idle := time.AfterFunc(time.Minute, r.cancel)
	defer idle.Stop()
	m, err := r.stream.Recv()
	switch {
	case err == io.EOF:
		r.err = io.EOF
	case err != nil:
		r.err = r.store.explain(r.digest, err)
	case m.GetOffset() != r.offset:
		r.err = fmt.Errorf("blob %s: containerd sent offset %d where %d follows", r.digest, m.GetOffset(), r.offset)
	default:
		r.rest = m.GetData()
		r.offset += int64(len(r.rest))
	}
	return r.err
}

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if err := r.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close ends the request.
func (r *contentReader) Close() error {
	r.cancel()
	return nil
}
