// Package audit tells what an account asked an API server for, by its audit log, and what the cluster's roles grant it. A suite that
// has a program do all that it does finds so the rights that are missing, and those that nothing uses.
package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Account is a ServiceAccount.
type Account struct{ Namespace, Name string }

// User returns what the account is called as a user.
func (a Account) User() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

// Request is a request, as the API server recorded it.
type Request struct{ Verb, Group, Resource, Namespace, Name, Path string }

// String returns the request in words.
func (r Request) String() string {
	if r.Resource == "" {
		return r.Verb + " " + r.Path
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s in %q", r.Right(), r.Name, r.Namespace))
}

// Right returns what a rule has to grant for the request, such as `get jobs.batch`.
func (r Request) Right() string { return r.Verb + " " + r.Resource + "." + r.Group }

// event is what is read of an audit event.
type event struct {
	User       struct{ Username string }
	Verb       string
	RequestURI string
	ObjectRef  struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	// Annotations are of what was asked for, not of how it went: a webhook may refuse too.
	Annotations map[string]string
}

func (e *event) request() Request {
	resource := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		resource += "/" + e.ObjectRef.Subresource
	}
	return Request{e.Verb, e.ObjectRef.APIGroup, resource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.RequestURI}
}

// Requests returns all requests of an account that the audit logs in a directory hold, the refused ones apart.
func Requests(dir string, account Account) (allowed, forbidden []Request, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "audit*.log"))
	if err != nil || len(logs) == 0 {
		return nil, nil, fmt.Errorf("no audit log in %s: %w", dir, err)
	}
	for _, path := range logs {
		err := each(path, func(e *event) {
			switch {
			case e.User.Username != account.User():
			case e.Annotations["authorization.k8s.io/decision"] == "forbid":
				forbidden = append(forbidden, e.request())
			default:
				allowed = append(allowed, e.request())
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return allowed, forbidden, nil
}

// each calls a function for each event of a log. What may be there of a line that is still being written is left out.
func each(path string, see func(*event)) error {
	log, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer log.Close()
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		e := &event{}
		if err := json.Unmarshal(line, e); err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		see(e)
	}
}

// Granted returns the rights that the cluster's roles grant an account by name, in order and each once. What all accounts are granted
// is not among them.
func Granted(ctx context.Context, reader client.Reader, account Account) ([]string, error) {
	roles, err := bound(ctx, reader, account)
	if err != nil {
		return nil, err
	}
	var granted []string
	for _, role := range roles {
		rules, err := rulesOf(ctx, reader, role)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			granted = append(granted, rights(rule)...)
		}
	}
	slices.Sort(granted)
	return slices.Compact(granted), nil
}

// boundRole is a role that an account is bound to, in a namespace or in all.
type boundRole struct {
	namespace string
	ref       rbacv1.RoleRef
}

func bound(ctx context.Context, reader client.Reader, account Account) ([]boundRole, error) {
	isIt := func(subject rbacv1.Subject) bool {
		return subject.Kind == rbacv1.ServiceAccountKind && subject.Namespace == account.Namespace && subject.Name == account.Name
	}
	everywhere, inNamespaces := &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleBindingList{}
	if err := errors.Join(reader.List(ctx, everywhere), reader.List(ctx, inNamespaces)); err != nil {
		return nil, fmt.Errorf("reading bindings of roles: %w", err)
	}
	var roles []boundRole
	for _, binding := range everywhere.Items {
		if slices.ContainsFunc(binding.Subjects, isIt) {
			roles = append(roles, boundRole{"", binding.RoleRef})
		}
	}
	for _, binding := range inNamespaces.Items {
		if slices.ContainsFunc(binding.Subjects, isIt) {
			roles = append(roles, boundRole{binding.Namespace, binding.RoleRef})
		}
	}
	return roles, nil
}

// OfTheCluster returns the names of the ClusterRoles that an account is bound to, by whatever binding.
func OfTheCluster(ctx context.Context, reader client.Reader, account Account) ([]string, error) {
	roles, err := bound(ctx, reader, account)
	var names []string
	for _, role := range roles {
		if role.ref.Kind == "ClusterRole" {
			names = append(names, role.ref.Name)
		}
	}
	return names, err
}

func rulesOf(ctx context.Context, reader client.Reader, role boundRole) ([]rbacv1.PolicyRule, error) {
	if role.ref.Kind == "Role" {
		found := &rbacv1.Role{}
		err := reader.Get(ctx, client.ObjectKey{Namespace: role.namespace, Name: role.ref.Name}, found)
		return found.Rules, err
	}
	found := &rbacv1.ClusterRole{}
	err := reader.Get(ctx, client.ObjectKey{Name: role.ref.Name}, found)
	return found.Rules, err
}

func rights(rule rbacv1.PolicyRule) []string {
	var granted []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				granted = append(granted, Request{Verb: verb, Group: group, Resource: resource}.Right())
			}
		}
	}
	return granted
}

// Unused returns the rights that are granted and were not asked for.
func Unused(granted []string, allowed []Request) []string {
	return slices.DeleteFunc(slices.Clone(granted), func(right string) bool {
		return slices.ContainsFunc(allowed, func(r Request) bool { return r.Right() == right })
	})
}
