{{/* Fails where something that a cluster has one of belongs to another release: (list $ apiVersion kind name value wanted), where
value is what to set to false then. Without a cluster, as in `helm template`, nothing is known of others. */}}
{{- define "queuebinding.owned" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 2 -}}
{{- $name := index . 3 -}}
{{- if index . 5 -}}
{{- $there := lookup (index . 1) $kind "" $name -}}
{{- $annotations := dig "metadata" "annotations" dict ($there | default dict) -}}
{{- $release := index $annotations "meta.helm.sh/release-name" | default $root.Release.Name -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default $root.Release.Namespace -}}
{{- if or (ne $release $root.Release.Name) (ne $namespace $root.Release.Namespace) -}}
{{- fail (printf "\n\nA cluster has one %s %s, and it belongs to release %s in namespace %s.\nLeave it to that one with --set %s=false. Or, if that release is gone, take it over:\n\n  kubectl annotate --overwrite %s %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s\n"
  $kind $name $release $namespace (index . 4) (lower $kind) $name $root.Release.Name $root.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
