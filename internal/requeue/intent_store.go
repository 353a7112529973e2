package requeue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// conflictBackoff is how a write is tried again that lost against another: that of another replica, of the leader removing
// what it has done, or of a user.
var conflictBackoff = wait.Backoff{Steps: 20, Duration: 5 * time.Millisecond, Factor: 1.5, Jitter: 0.5, Cap: time.Second}

// queueBindings is the resource of bindings, for errors about one.
var queueBindings = v1alpha1.GroupVersion.WithResource("queuebindings").GroupResource()

// IntentStore keeps the intents of bindings, each in its binding's annotation. Every write takes an optimistic lock:
// whoever requeues merges into the annotation, and the leader removes from it, so that a blind write would drop somebody's
// wish. It never touches anything else of a binding.
type IntentStore struct {
	// Reader reads bindings from the API server: from a cache, a write would conflict with those just before it.
	Reader client.Reader
	Writer client.Writer
}

// Binding returns a binding that can take an intent. The error is NotFound if there is none, and Forbidden if it is being
// deleted.
func (s *IntentStore) Binding(ctx context.Context, key client.ObjectKey) (*v1alpha1.QueueBinding, error) {
	binding := &v1alpha1.QueueBinding{}
	err := s.Reader.Get(ctx, key, binding)
	switch {
	case apierrors.IsNotFound(err):
		return nil, apierrors.NewNotFound(queueBindings, key.Name)
	case err != nil:
		return nil, fmt.Errorf("read QueueBinding %s: %w", key.Name, err)
	case binding.DeletionTimestamp != nil:
		return nil, apierrors.NewForbidden(queueBindings, key.Name, errors.New("the binding is being deleted, and its Jobs with it"))
	}
	return binding, nil
}

// Add merges a selection into the intent of a binding, and returns it with those names refused that there is no room for.
// In a dry run it writes nothing. The errors are those of Binding, NotFound also for another binding of the same name, and
// Conflict if others' writes came first each time.
func (s *IntentStore) Add(ctx context.Context, binding *v1alpha1.QueueBinding, selection Selection, dryRun bool) (Selection, error) {
	var added Selection
	err := retry.RetryOnConflict(conflictBackoff, func() error {
		current, err := s.Binding(ctx, client.ObjectKeyFromObject(binding))
		if err != nil {
			return err
		}
		if current.UID != binding.UID {
			return apierrors.NewNotFound(queueBindings, binding.Name)
		}
		var text string
		text, added = merge(current.Annotations[v1alpha1.AnnotationRequeue], selection)
		if dryRun {
			return nil
		}
		return s.write(ctx, current, text)
	})
	return added, err
}

// Replace writes an intent in place of the one that the binding was read with. The error is Conflict if the binding has
// changed since.
func (s *IntentStore) Replace(ctx context.Context, binding *v1alpha1.QueueBinding, intent Intent) error {
	return s.write(ctx, binding, intent.String())
}

// Remove removes what was done from the intent of a binding, as it is by now. A binding that is gone is no error.
func (s *IntentStore) Remove(ctx context.Context, binding *v1alpha1.QueueBinding, done Intent) error {
	return retry.RetryOnConflict(conflictBackoff, func() error {
		current := &v1alpha1.QueueBinding{}
		if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			return client.IgnoreNotFound(err)
		}
		if current.UID != binding.UID {
			return nil
		}
		intent, _ := Parse(current.Annotations[v1alpha1.AnnotationRequeue])
		return s.Replace(ctx, current, intent.Without(done))
	})
}

// write sets the annotation of a binding, unless it says so already.
func (s *IntentStore) write(ctx context.Context, binding *v1alpha1.QueueBinding, text string) error {
	if written, ok := binding.Annotations[v1alpha1.AnnotationRequeue]; written == text && ok == (text != "") {
		return nil
	}
	before := binding.DeepCopy()
	if text == "" {
		delete(binding.Annotations, v1alpha1.AnnotationRequeue)
	} else {
		metav1.SetMetaDataAnnotation(&binding.ObjectMeta, v1alpha1.AnnotationRequeue, text)
	}
	return s.Writer.Patch(ctx, binding, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// merge merges a selection into an annotation's text. Names beyond MaxNames are refused, as the leader would refuse the
// intent as a whole. What cannot be read of the text is left there, for the leader to tell whoever wrote it.
func merge(text string, selection Selection) (string, Selection) {
	intent, words := Parse(text)
	if selection.All {
		intent = intent.Merge(Intent{All: true})
	} else {
		fits, rest := intent.fit(selection.Names)
		intent = intent.Merge(Named(fits...))
		selection.Names, selection.Refused = fits, slices.Clone(selection.Refused)
		for _, name := range rest {
			selection.Refused = append(selection.Refused, limitReached(name))
		}
	}
	if !intent.IsEmpty() {
		words = append(words, intent.String())
	}
	return strings.Join(words, ","), selection
}
