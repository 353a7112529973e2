package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"aead.dev/minisign"
)

// The environment variables of the key: the text of the file that `minisign -G` writes, and its password, if it has one.
const (
	keyVariable      = "RELEASE_KEY"
	passwordVariable = "RELEASE_KEY_PASSWORD"
)

const (
	sumsFile      = "SHA256SUMS"
	signatureFile = sumsFile + ".minisig"
)

// sign writes the checksums of all files in dist, and a signature over them if there is a key. The same files and the same key give the
// same signature.
func sign(dist, key, password string, out io.Writer) error {
	made, err := readRelease(dist)
	if err != nil {
		return err
	}
	sums, err := checksums(dist)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dist, sumsFile), sums, 0o644); err != nil {
		return err
	}
	if key == "" {
		fmt.Fprintf(out, "NOT SIGNED: there is no key in %s\n", keyVariable)
		return nil
	}
	private, err := readKey([]byte(key), password)
	if err != nil {
		return fmt.Errorf("reading the key in %s: %w", keyVariable, err)
	}
	message := minisign.NewReader(bytes.NewReader(sums))
	if _, err := io.Copy(io.Discard, message); err != nil {
		return err
	}
	signature := message.SignWithComments(private, "queuebinding "+made.Version, "verify with the public key of queuebinding")
	if err := os.WriteFile(filepath.Join(dist, signatureFile), signature, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "Signed %s with the key whose public half is %s\n", sumsFile, private.Public())
	return nil
}

func readKey(text []byte, password string) (minisign.PrivateKey, error) {
	if minisign.IsEncrypted(text) {
		return minisign.DecryptKey(password, text)
	}
	var key minisign.PrivateKey
	err := key.UnmarshalText(text)
	return key, err
}

// checksums are those of all files in a folder but of the signed ones themselves, in the form of sha256sum.
func checksums(dist string) ([]byte, error) {
	entries, err := os.ReadDir(dist) // sorted
	if err != nil {
		return nil, err
	}
	var sums bytes.Buffer
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), sumsFile) {
			continue
		}
		if !entry.Type().IsRegular() {
			return nil, fmt.Errorf("%s is no file: a release is one folder of files", entry.Name())
		}
		sum, err := sha256Of(filepath.Join(dist, entry.Name()))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, entry.Name())
	}
	return sums.Bytes(), nil
}
