package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
)

// unsigned makes a folder with what signing needs.
func unsigned(t *testing.T) string {
	t.Helper()
	dist := t.TempDir()
	if err := writeJSON(releaseFile(dist), release{Version: tagged, Commit: "c0ffee", Date: time.Unix(0, 0).UTC(), Image: "example.com/queuebinding:" + tagged}); err != nil {
		t.Fatal(err)
	}
	return dist
}

func TestWithoutAKeyNothingIsSigned(t *testing.T) {
	dist := unsigned(t)
	var out strings.Builder
	if err := sign(dist, "", "", &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "NOT SIGNED") {
		t.Errorf("got %q, want that it says so", out.String())
	}
	if got := names(t, dist); len(got) != 2 {
		t.Errorf("got %q, want the checksums only", got)
	}
}

func TestAKeyWithAPassword(t *testing.T) {
	dist := unsigned(t)
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := minisign.EncryptKey("a password", private)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(dist, string(encrypted), "a password", io.Discard); err != nil {
		t.Fatal(err)
	}
	if !minisign.Verify(public, read(t, dist, sumsFile), read(t, dist, signatureFile)) {
		t.Error("the signature is not valid")
	}
}

func TestAKeyThatIsNoneIsAnError(t *testing.T) {
	if err := sign(unsigned(t), "nonsense", "", io.Discard); err == nil || !strings.Contains(err.Error(), keyVariable) {
		t.Errorf("got %v, want that the key in %s cannot be read", err, keyVariable)
	}
}
