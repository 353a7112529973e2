package devenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/queuebinding/queuebinding/hack/devenv/image"
	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// realNodeName is the name of the one real node.
const realNodeName = "real-1"

// realNode is a kubelet with containerd and runc. Nothing of it is shared with a container engine that is there already.
type realNode struct {
	programs machine.Programs
	claim    machine.Claim
}

// RealNode returns a node whose Pods run in containers, by the given programs.
func RealNode(programs machine.Programs) Node { return &realNode{programs: programs} }

func (*realNode) Kind() NodeKind { return Real }

func (*realNode) Programs() []string { return []string{"kubelet"} }

func (r *realNode) Claim(dir string) (Network, error) {
	var err error
	if r.claim, err = machine.Obtain(dir); err != nil {
		return Network{}, err
	}
	return Network{Address: r.claim.Address(), Services: r.claim.Services()}, nil
}

func (r *realNode) Parts() []Part {
	return []Part{r.servicesPart(), r.containerdPart(), r.kubeletPart()}
}

// servicesPart stands in for kube-proxy: see package services.
func (r *realNode) servicesPart() Part {
	const name = "services"
	return Part{
		Name: name,
		Prepare: func(env *Environment) (Command, error) {
			program, err := os.Executable()
			if err != nil {
				return Command{}, fmt.Errorf("finding this program: %w", err)
			}
			kubeconfig, err := env.login(name, env.certificates.services)
			if err != nil {
				return Command{}, err
			}
			args := []string{"services", "--root=" + env.Layout.Root, "--dir=" + env.Dir, "--kubeconfig=" + kubeconfig}
			for _, url := range []string{env.apiURL, env.queueURL} {
				if url != "" {
					args = append(args, "--publish="+url[strings.LastIndex(url, ":")+1:])
				}
			}
			return Command{Path: program, Args: args}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			// The API server's own Service, as Pods reach it.
			return env.answers(ctx, "https://"+env.network.apiServiceIP().String()+"/readyz", "ok")
		},
	}
}

// Load gives the images of an archive to the real node of the environment in dir.
func Load(ctx context.Context, dir, archive string) error {
	claims, err := machine.Find(dir)
	if err != nil {
		return err
	}
	programs, missing := machine.FindPrograms()
	if len(claims) != 1 || len(missing) > 0 {
		return fmt.Errorf("no real node runs in %s", dir)
	}
	node := &realNode{programs: programs, claim: claims[0]}
	return node.load(ctx, archive)
}

func (r *realNode) load(ctx context.Context, archive string) error {
	return r.ctr(ctx, "--namespace=k8s.io", "images", "import", "--snapshotter=native", archive)
}

const containerdConfiguration = `version = 2
root = %[1]q
state = %[2]q
# It would make directories elsewhere, or look for what is not here.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = %[3]q

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %[4]q
# Without it namespaces of networks would lie among everybody's, and stay there after a crash.
netns_mounts_under_state_dir = true
# A process may not have the right to protect its children from the kernel's killer when memory runs out.
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".containerd]
# Copies instead of overlays: works on every file system, also in a container. The images are small.
snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = %[5]q
Root = %[6]q

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %[7]q
conf_dir = %[8]q
`

// networkConfiguration gives each Pod a pair of devices and the machine a route to it. No packet is translated, so that
// no rule of the machine's firewall is touched; Pods reach each other and the machine, and nothing beyond.
const networkConfiguration = `{
  "cniVersion": "0.4.0",
  "name": %[1]q,
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {"type": "host-local", "subnet": %[2]q, "dataDir": %[3]q, "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`

// containerdPart is the container runtime, with the images that a node begins with.
func (r *realNode) containerdPart() Part {
	return Part{
		Name:    "containerd",
		Prepare: r.prepareContainerd,
		Ready: func(ctx context.Context, _ *Environment) error {
			if err := r.ctr(ctx, "version"); err != nil {
				return err
			}
			return r.load(ctx, r.images())
		},
	}
}

func (r *realNode) socket() string { return r.claim.Run("containerd.sock") }

func (r *realNode) images() string { return r.claim.Disk("images.tar") }

func (r *realNode) prepareContainerd(env *Environment) (Command, error) {
	networks := r.claim.Run("cni")
	if err := os.MkdirAll(networks, 0o700); err != nil {
		return Command{}, fmt.Errorf("making a directory for the network's configuration: %w", err)
	}
	network := fmt.Sprintf(networkConfiguration, r.claim.ID, r.claim.Pods(), r.claim.Run("ipam"))
	if err := writeFile(r.claim.Run("cni", "10-devenv.conflist"), []byte(network)); err != nil {
		return Command{}, err
	}
	config := env.file("containerd.toml")
	if err := writeFile(config, fmt.Appendf(nil, containerdConfiguration, r.claim.Disk("containerd"), r.claim.Runtime(), r.socket(),
		image.Pause, r.programs.Runc, r.claim.Run("runc"), r.programs.Networks, networks)); err != nil {
		return Command{}, err
	}
	images, err := image.Busybox(context.Background(), r.programs.Busybox)
	if err != nil {
		return Command{}, err
	}
	if err := image.WriteArchive(r.images(), images...); err != nil {
		return Command{}, err
	}
	procs, err := r.claim.RuntimeProcs()
	if err != nil {
		return Command{}, err
	}
	return Command{
		// The shell puts itself into the control group and becomes containerd, whose helpers then are born there: they
		// outlive it, and have to be found.
		Path:    "/bin/sh",
		Args:    []string{"-ec", `echo $$ >"$0"; exec "$@"`, procs, r.programs.Containerd, "--config=" + config},
		Address: "unix://" + r.socket(),
	}, nil
}

// ctr runs containerd's client.
func (r *realNode) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, r.programs.Ctr, append([]string{"--address=" + r.socket()}, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", args[0], err, lastLines(string(output), 5))
	}
	return nil
}
