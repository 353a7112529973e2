package image

import (
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
)

// Pause is the name of the image that holds a Pod's network while its containers come and go.
const Pause = "devenv.queuebinding.dev/pause:1"

// StandIns are the images that Pods find on a node without downloads. Each is Debian's busybox alone, whatever its name
// promises.
var StandIns = []string{
	"docker.io/library/alpine:3.22",
	"docker.io/library/alpine:latest",
	"docker.io/library/busybox:1.37",
	"docker.io/library/busybox:latest",
}

// Busybox returns the images that a node begins with, made of one static program.
func Busybox(ctx context.Context, program string) ([]Image, error) {
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s what it can: %w", program, err)
	}
	files := []File{
		{Path: "/bin", Mode: fs.ModeDir | 0o755},
		{Path: "/bin/busybox", Mode: 0o755, Source: program},
		{Path: "/etc", Mode: fs.ModeDir | 0o755},
		{Path: "/etc/passwd", Mode: 0o644, Data: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{Path: "/etc/group", Mode: 0o644, Data: "root:x:0:\nnogroup:x:65534:\n"},
		{Path: "/root", Mode: fs.ModeDir | 0o700},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			files = append(files, File{Path: "/bin/" + applet, Mode: fs.ModeSymlink | 0o777, Data: "busybox"})
		}
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return []Image{
		{Names: StandIns, Files: files, Cmd: []string{"/bin/sh"}, Env: env},
		{Names: []string{Pause}, Files: files[:2], Entrypoint: []string{"/bin/busybox", "sleep", "2147483647"}},
	}, nil
}
