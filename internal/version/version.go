// Package version says which build of the project a program is. What it says comes from Go's own record of the build, in which the
// Go command writes the module's version and the commit; builds without a Git repository, such as the Dockerfile's, set it when they
// link.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Set by `go build -ldflags=-X…` where there is no Git repository, else empty.
var version, commit, date string

// unknown stands for what a build does not tell.
const unknown = "unknown"

// Info is what is known of a build.
type Info struct {
	// Version is a tag, such as v1.2.3, or the pseudo-version that Go makes of a commit after one; "devel" where the build does not
	// tell. It ends in +dirty where the sources had changes that were not committed.
	Version string
	// Commit is the hash of the commit, or "unknown".
	Commit string
	// Date is when the commit was made, in RFC 3339, or "unknown". It is not when the program was built: the same sources give the
	// same program.
	Date string
	// Go is the version of Go.
	Go string
}

// Get returns what is known of the running program.
func Get() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return of(build, Info{Version: version, Commit: commit, Date: date})
}

// of returns what linked says, else what build does.
func of(build *debug.BuildInfo, linked Info) Info {
	settings := map[string]string{}
	for _, setting := range build.Settings {
		settings[setting.Key] = setting.Value
	}
	return Info{
		// Go says "(devel)" where it does not know.
		Version: cmp.Or(linked.Version, strings.Trim(build.Main.Version, "()"), "devel"),
		Commit:  cmp.Or(linked.Commit, settings["vcs.revision"], unknown),
		Date:    cmp.Or(linked.Date, settings["vcs.time"], unknown),
		Go:      runtime.Version(),
	}
}

// String is what `--version` prints after the program's name.
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s of %s, %s %s/%s)", i.Version, i.Commit, i.Date, i.Go, runtime.GOOS, runtime.GOARCH)
}

// shortCommit is how many characters of a commit a User-Agent has.
const shortCommit = 12

// UserAgent is the User-Agent of a program's requests to the API server: program/version (os/arch) commit.
func UserAgent(program string) string {
	info := Get()
	return fmt.Sprintf("%s/%s (%s/%s) %.*s", program, info.Version, runtime.GOOS, runtime.GOARCH, shortCommit, info.Commit)
}
