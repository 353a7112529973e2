package crash

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// forge sends messages as a producer does that claims them to be attempts at another's.
func forge(ctx context.Context, c *Case) error {
	for i := range ForgedLineages("", "") {
		body := rig.Body(1+i, "127.0.0.1", 0.1)
		id, err := c.Queue.SendWith(ctx, body, map[string]string{v1alpha1.AttributeLineage: ForgedLineages(c.Order[0], body)[i]})
		if err != nil {
			return err
		}
		c.Sent[id] = body
		c.Order = append(c.Order, id)
	}
	return nil
}

// ForgedLineages are what a producer may claim of a message's body: to be the attempt at another message that failed, the next
// ones, the last that there can be, or one that overflows, without the signature, with what was in its place once, or with one of
// a right length.
func ForgedLineages(root, body string) []string {
	signature := strings.Repeat("0123456789abcdef", 4)
	return []string{
		fmt.Sprintf("%s/1/%s", root, digest(body)),
		fmt.Sprintf("%s/2/%s", root, digest(body)),
		fmt.Sprintf("%s/%d/%s", root, math.MaxInt, digest(body)),
		fmt.Sprintf("%s/2/%s", root, signature),
		fmt.Sprintf("%s/%d0/%s", root, math.MaxInt, signature),
		fmt.Sprintf("%s/2/", root),
	}
}

// digest is what anybody can make of a message, and what requeued ones once bore in place of a signature.
func digest(body string) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...))
	return hex.EncodeToString(sum[:16])
}
