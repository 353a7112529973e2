package machine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one line of the kernel's table of mounts.
type mount struct{ point, kind, options string }

func mounts() ([]mount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the table of mounts: %w", err)
	}
	defer file.Close()
	var found []mount
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			found = append(found, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the table of mounts: %w", err)
	}
	return found, nil
}

// parseMount reads a line such as `36 35 98:0 /root /point rw shared:1 - ext4 /dev/sda1 rw,errors=continue`, see
// proc_pid_mountinfo(5). How many fields come before the dash varies.
func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 6 || len(rest) < 3 {
		return mount{}, false
	}
	return mount{point: unescape(fields[4]), kind: rest[0], options: rest[2]}, true
}

// unescape undoes the kernel's \040 for a space and the like.
func unescape(path string) string {
	var plain strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if code, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				plain.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		plain.WriteByte(path[i])
	}
	return plain.String()
}

// unmountBelow unmounts dir and all below it, the inmost first.
func unmountBelow(dir string) error {
	// A place can be mounted on several times, and unmounting one can uncover another.
	for range 10 {
		all, err := mounts()
		if err != nil {
			return err
		}
		var ours []string
		for _, m := range all {
			if m.point == dir || strings.HasPrefix(m.point, dir+"/") {
				ours = append(ours, m.point)
			}
		}
		if len(ours) == 0 {
			return nil
		}
		for _, point := range slices.Backward(ours) {
			if err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW); err != nil {
				// The kernel may still be ending a process that we killed. It lets go when that is done.
				_ = unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH) // looked at again above
			}
		}
	}
	return fmt.Errorf("something below %s stays mounted", filepath.Clean(dir))
}
