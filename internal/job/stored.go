package job

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// smallJob is what a Job of a small template takes, with its Pod and without a message. Jobs that do not tell are taken for one.
const smallJob = 10 << 10

// annotateStoredBytes records how many bytes a rendered Job will take: its Pod bears the template again, and scheduler, kubelet
// and admission add to both. inSecrets is what its Secrets take.
func annotateStoredBytes(job *batchv1.Job, inSecrets int) {
	job.Annotations[v1alpha1.AnnotationStoredBytes] = strconv.Itoa(2*job.Size() + inSecrets)
}

// storedBytes returns how many bytes a Job takes. It is never less than a small Job takes.
func storedBytes(job *batchv1.Job) int64 {
	bytes, err := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationStoredBytes], 10, 64)
	if err != nil {
		return smallJob
	}
	return max(bytes, smallJob)
}
