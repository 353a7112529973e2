{{/* What names begin with. 28 characters, as the longest of them goes on for 35 more and a Service's has 63. */}}
{{- define "queuebinding.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "queuebinding" .Release.Name -}}
{{ .Release.Name | trunc 28 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-queuebinding" .Release.Name | trunc 28 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* What selects the Pods of a component: (list $ "apiserver"). */}}
{{- define "queuebinding.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: queuebinding
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
control-plane: {{ index . 1 }}
{{- end }}

{{/* Labels of an object that has some already: (list $ labels). Ours win over commonLabels, as selectors go by them. */}}
{{- define "queuebinding.labels" -}}
{{- $root := index . 0 -}}
{{- $ours := dict
  "app.kubernetes.io/name" "queuebinding"
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- toYaml (mergeOverwrite (dict) $root.Values.commonLabels (index . 1) $ours) }}
{{- end }}

{{/* Metadata of an object in the release's namespace: (list $ "apiserver" (dict "control-plane" "apiserver")) for its name, less what
all begin with, and labels of its own. */}}
{{- define "queuebinding.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "queuebinding.fullname" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "queuebinding.labels" (list $root (index . 2)) | nindent 2 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "queuebinding.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
