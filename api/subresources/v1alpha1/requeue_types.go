package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxJobNames is the most Job names of a Requeue.
const MaxJobNames = 1000

// Requeue asks for failed Jobs of a QueueBinding to be put back on their queue. It is posted to the binding's
// subresource `requeue`, which answers with the same kind and its status. Nothing is stored under this kind: what is
// accepted is noted on the binding, and the operator then sends the messages again.
//
// +kubebuilder:object:root=true
type Requeue struct {
	metav1.TypeMeta `json:",inline"`
	// metadata may be left out; a name or namespace that is set must be the binding's.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is which Jobs to requeue.
	Spec RequeueSpec `json:"spec"`

	// status is the answer; it is ignored in a request.
	// +optional
	Status RequeueStatus `json:"status,omitempty"`
}

// RequeueSpec is which Jobs to requeue: exactly one of jobNames, all, or a selection by reasons and labelSelector.
type RequeueSpec struct {
	// jobNames are the names of failed Jobs of the binding, at most 1,000.
	// +listType=set
	// +optional
	JobNames []string `json:"jobNames,omitempty"`

	// all is every Job of the binding that has failed by now and is not on its way back already.
	// +optional
	All bool `json:"all,omitempty"`

	// reasons select the failed Jobs whose condition Failed has one of these reasons, such as DeadlineExceeded or
	// BackoffLimitExceeded.
	// +listType=set
	// +optional
	Reasons []string `json:"reasons,omitempty"`

	// labelSelector selects failed Jobs by their labels, which a binding's jobTemplate can set. With reasons, both must
	// hold.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
}

// RequeueStatus is the answer to a Requeue.
type RequeueStatus struct {
	// accepted are the names of the Jobs that will be requeued. The operator looks at each again: what it then refuses is in
	// status.lastRequeue of the binding.
	// +listType=set
	// +optional
	Accepted []string `json:"accepted,omitempty"`

	// refused are the Jobs that will not be, each with the reason.
	// +listType=map
	// +listMapKey=jobName
	// +optional
	Refused []RequeueRefusal `json:"refused,omitempty"`
}

// RequeueRefusal is a Job that will not be requeued.
type RequeueRefusal struct {
	// jobName is the name as it was asked for.
	JobName string `json:"jobName"`
	// reason is why, in one word: NotFound, NotOwned, NotFailed, LimitReached.
	Reason string `json:"reason"`
	// message is why, in words.
	Message string `json:"message"`
}
