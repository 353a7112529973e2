package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// Obtain takes what a node of owner needs. What it has taken when it fails, or dies, [Release] gives back.
func Obtain(owner string) (Claim, error) {
	claim, err := reserve(owner)
	if err != nil {
		return Claim{}, err
	}
	if err := os.MkdirAll(claim.Run(), 0o711); err != nil {
		return Claim{}, fmt.Errorf("making the node's directory: %w", err)
	}
	if err := claim.recordSettings(); err != nil {
		return Claim{}, err
	}
	if err := claim.makeDevice(); err != nil {
		return Claim{}, err
	}
	return claim, claim.makeCgroups()
}

// reserve finds a claim that nobody has. Making its directory decides between two who look at the same time.
func reserve(owner string) (Claim, error) {
	used, err := usedAddresses()
	if err != nil {
		return Claim{}, err
	}
	// From a place of chance: after a crash that nobody cleared away, the next one shall not meet its remains.
	first := rand.IntN(claimCount)
	for i := range claimCount {
		claim := claimNumber((first + i) % claimCount)
		if overlaps(used, claim.Addresses) {
			continue
		}
		claim.Owner = owner
		err := os.Mkdir(claim.Disk(), 0o711)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return Claim{}, fmt.Errorf("making the node's directory: %w", err)
		}
		return claim, claim.write()
	}
	return Claim{}, fmt.Errorf("no free addresses for a node in %s", addresses)
}
