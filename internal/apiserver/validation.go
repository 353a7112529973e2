package apiserver

import (
	"strings"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

const exactlyOne = "exactly one of jobNames, all, or a selection by reasons and labelSelector is needed"

// validate returns what is wrong with a request, by the paths of its fields.
func validate(spec *subresources.RequeueSpec) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec")

	var ways []string
	if len(spec.JobNames) > 0 {
		ways = append(ways, "jobNames")
	}
	if spec.All {
		ways = append(ways, "all")
	}
	if len(spec.Reasons) > 0 || spec.LabelSelector != nil {
		ways = append(ways, "reasons and labelSelector")
	}
	switch {
	case len(ways) == 0:
		errs = append(errs, field.Required(path, exactlyOne))
	case len(ways) > 1:
		errs = append(errs, field.Forbidden(path, exactlyOne+"; given are "+strings.Join(ways, ", ")))
	}

	names := path.Child("jobNames")
	if len(spec.JobNames) > subresources.MaxJobNames {
		errs = append(errs, field.TooMany(names, len(spec.JobNames), subresources.MaxJobNames))
	} else {
		errs = append(errs, validateSet(names, spec.JobNames, validation.IsDNS1123Subdomain)...)
	}
	errs = append(errs, validateSet(path.Child("reasons"), spec.Reasons, func(reason string) []string {
		if strings.TrimSpace(reason) == "" {
			return []string{"must be the reason of a Job's condition Failed, such as BackoffLimitExceeded"}
		}
		return nil
	})...)

	if selector := spec.LabelSelector; selector != nil {
		path := path.Child("labelSelector")
		errs = append(errs, metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path)...)
		if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
			errs = append(errs, field.Required(path, "an empty selector would select every Job: use all"))
		}
	}
	return errs
}

// validateSet validates each value by its own problems, and that there is none twice.
func validateSet(path *field.Path, values []string, problems func(string) []string) field.ErrorList {
	var errs field.ErrorList
	seen := make(map[string]bool, len(values))
	for i, value := range values {
		for _, problem := range problems(value) {
			errs = append(errs, field.Invalid(path.Index(i), value, problem))
		}
		if seen[value] {
			errs = append(errs, field.Duplicate(path.Index(i), value))
		}
		seen[value] = true
	}
	return errs
}
