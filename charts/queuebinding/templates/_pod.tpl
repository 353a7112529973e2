{{/* What the Pods of both Deployments have in common: (list $ "controller-manager" .Values.operator). Their container follows. */}}
{{- define "queuebinding.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
{{- $selector := include "queuebinding.selector" (list $root $component) | fromYaml -}}
serviceAccountName: {{ include "queuebinding.fullname" $root }}-{{ $component }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- with $values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- toYaml $selector | nindent 12 }}
  {{- end }}
topologySpreadConstraints:
{{- with $values.topologySpreadConstraints }}
{{- toYaml . | nindent 0 }}
{{- else }}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- toYaml $selector | nindent 6 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of the same Pods: (list $ "controller-manager" .Values.operator "manager"), the last for the container. */}}
{{- define "queuebinding.podmetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
annotations:
  {{- toYaml (mergeOverwrite (dict "kubectl.kubernetes.io/default-container" (index . 3)) $values.podAnnotations) | nindent 2 }}
labels:
  {{- include "queuebinding.selector" (list $root (index . 1)) | fromYaml | mergeOverwrite (dict) $root.Values.commonLabels $values.podLabels | toYaml | nindent 2 }}
{{- end }}

{{/* What both containers have in common: (list $ .Values.operator). */}}
{{- define "queuebinding.container" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
image: {{ include "queuebinding.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
livenessProbe:
  httpGet:
    path: /healthz
    port: probes
  initialDelaySeconds: 15
  periodSeconds: 20
readinessProbe:
  httpGet:
    path: /readyz
    port: probes
  initialDelaySeconds: 5
  periodSeconds: 10
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
