{{/* Everything in files/ is a copy of what config/ has of the same name, and follows it by `make manifests`. What is done here to
its objects is what kustomize does to the originals: names get their beginning, and what is named inside of them as well. */}}

{{/* The objects of one file, named after the release: (dict "root" $ "file" "rbac/lineage_role.yaml"). With "in", which is a
namespace, a ClusterRole and its binding become a Role and a RoleBinding there. */}}
{{- define "queuebinding.file" -}}
{{- $root := .root -}}
{{- $in := .in -}}
{{- $prefix := include "queuebinding.fullname" $root -}}
{{- $text := $root.Files.Get (printf "files/%s" .file)
  | replace "queuebinding-controller-manager" (printf "%s-controller-manager" $prefix)
  | replace "queuebinding-system" $root.Release.Namespace -}}
{{- if not $text }}
{{- fail (printf "the chart has no files/%s" .file) }}
{{- end }}
{{- range $document := regexSplit "(?m)^---$" $text -1 }}
{{- $object := fromYaml $document }}
{{- if $object.kind }}
{{- $metadata := $object.metadata }}
{{- $_ := set $metadata "name" (printf "%s-%s" $prefix $metadata.name) }}
{{- if $metadata.namespace }}
{{- $_ := set $metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- $_ := set $metadata "labels" (include "queuebinding.labels" (list $root ($metadata.labels | default dict)) | fromYaml) }}
{{- with $root.Values.commonAnnotations }}
{{- $_ := set $metadata "annotations" . }}
{{- end }}
{{- with $object.roleRef }}
{{- $_ := set . "name" (printf "%s-%s" $prefix .name) }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "name" (printf "%s-%s" $prefix .name) }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- if eq $object.kind "ValidatingAdmissionPolicyBinding" }}
{{- $_ := set $object.spec "policyName" (printf "%s-%s" $prefix $object.spec.policyName) }}
{{- end }}
{{- if $in }}
{{- if and (eq $object.kind "ClusterRole") (hasSuffix "tenancy-role" $metadata.name) }}
{{- /* The operator cannot list Namespaces then; it gets its own ones, one by one. */}}
{{- $_ := set (first $object.rules) "verbs" (list "get") }}
{{- end }}
{{- $_ := set $metadata "namespace" $in }}
{{- $_ := set $object "kind" (trimPrefix "Cluster" $object.kind) }}
{{- with $object.roleRef }}
{{- $_ := set . "kind" "Role" }}
{{- end }}
{{- end }}
---
{{ toYaml $object }}
{{ end }}
{{- end }}
{{- end }}

{{/* A role and its binding: everywhere, or in each of the namespaces that the operator works in: (list $ "rights/manager"). */}}
{{- define "queuebinding.rights" -}}
{{- $root := index . 0 -}}
{{- $folder := index . 1 -}}
{{- range $file := list "role.yaml" "role_binding.yaml" }}
{{- $path := printf "%s/%s" $folder $file }}
{{- range $root.Values.namespaces }}
{{ include "queuebinding.file" (dict "root" $root "file" $path "in" .) }}
{{- else }}
{{ include "queuebinding.file" (dict "root" $root "file" $path) }}
{{- end }}
{{- end }}
{{- end }}
