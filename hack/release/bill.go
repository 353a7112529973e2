package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// document is the identifier of an SPDX document in itself.
const document = "DOCUMENT"

// writeBill writes the bill of materials, in SPDX: each program, by its checksum, the modules that Go says it is made of, and what the
// image is put on. Licences are not looked up.
func writeBill(path string, made release, programs []program) (err error) {
	bill := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: document,
		DocumentName:      "queuebinding " + made.Version,
		DocumentNamespace: fmt.Sprintf("%s/releases/%s/%s/spdx", source, made.Version, made.Commit),
		CreationInfo: &spdx.CreationInfo{
			Created:  made.Date.Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "queuebinding-release"}},
		},
	}
	modules := map[string]*spdx.Package{}
	for _, p := range programs {
		sum, err := sha256Of(p.path)
		if err != nil {
			return err
		}
		described := describe("program", p.name+"-"+p.os+"-"+p.arch, made.Version, p.file(p.name))
		described.PrimaryPackagePurpose = "APPLICATION"
		described.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: sum}}
		bill.Packages = append(bill.Packages, described)
		bill.Relationships = append(bill.Relationships, relate(document, "DESCRIBES", described.PackageSPDXIdentifier))
		for _, m := range modulesOf(p) {
			module := describe("module", m.Path, m.Version, "")
			module.PackageExternalReferences = []*spdx.PackageExternalReference{{
				Category: "PACKAGE-MANAGER", RefType: "purl", Locator: "pkg:golang/" + m.Path + "@" + m.Version,
			}}
			modules[string(module.PackageSPDXIdentifier)] = module
			bill.Relationships = append(bill.Relationships, relate(described.PackageSPDXIdentifier, "DEPENDS_ON", module.PackageSPDXIdentifier))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		bill.Packages = append(bill.Packages, modules[id])
	}
	if made.Base != "" {
		base := describe("base", made.Base, made.BaseDigest, "")
		base.PrimaryPackagePurpose = "CONTAINER"
		bill.Packages = append(bill.Packages, base)
		bill.Relationships = append(bill.Relationships, relate(document, "DESCRIBES", base.PackageSPDXIdentifier))
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	return cmp.Or(spdxjson.Write(bill, out, spdxjson.Indent("  ")), out.Close())
}

// modulesOf are the modules that a program is made of, Go's own library among them.
func modulesOf(p program) []debug.Module {
	modules := []debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(p.info.GoVersion, "go")}}
	for _, m := range p.info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		modules = append(modules, *m)
	}
	return modules
}

// notInIDs are the characters that SPDX has no place for in identifiers.
var notInIDs = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func describe(kind, name, version, file string) *spdx.Package {
	return &spdx.Package{
		PackageName: name, PackageVersion: version, PackageFileName: file,
		PackageSPDXIdentifier:   common.ElementID(notInIDs.ReplaceAllString(kind+"-"+name+"-"+version, "-")),
		PackageDownloadLocation: "NOASSERTION", PackageLicenseConcluded: "NOASSERTION", PackageLicenseDeclared: "NOASSERTION",
		PackageCopyrightText: "NOASSERTION",
	}
}

func relate(a common.ElementID, relationship string, b common.ElementID) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.MakeDocElementID("", string(a)), Relationship: relationship, RefB: common.MakeDocElementID("", string(b))}
}
