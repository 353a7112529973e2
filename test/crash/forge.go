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

// forge sends messages as a producer does that claims them to be attempts at another's: the one that failed, the next ones, the
// last that there can be, and such as bear a signature of a right length.
func forge(ctx context.Context, c *Case) error {
	root := c.Order[0]
	signature := strings.Repeat("0123456789abcdef", 4)
	for i, lineage := range []func(body string) string{
		func(body string) string { return fmt.Sprintf("%s/1/%s", root, digest(body)) },
		func(body string) string { return fmt.Sprintf("%s/2/%s", root, digest(body)) },
		func(body string) string { return fmt.Sprintf("%s/%d/%s", root, math.MaxInt, digest(body)) },
		func(string) string { return fmt.Sprintf("%s/2/%s", root, signature) },
		func(string) string { return fmt.Sprintf("%s/2/", root) },
	} {
		body := rig.Body(1+i, "127.0.0.1", 0.1)
		id, err := c.Queue.SendWith(ctx, body, map[string]string{v1alpha1.AttributeLineage: lineage(body)})
		if err != nil {
			return err
		}
		c.Sent[id] = body
		c.Order = append(c.Order, id)
	}
	return nil
}

// digest is what anybody can make of a message, and what requeued ones once bore in place of a signature.
func digest(body string) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...))
	return hex.EncodeToString(sum[:16])
}
