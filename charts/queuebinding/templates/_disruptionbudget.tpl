{{/* The budget of a Deployment: (list $ "apiserver" .Values.apiserver). One replica could never be evicted. */}}
{{- define "queuebinding.disruptionbudget" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- if and $root.Values.podDisruptionBudgets.enabled (gt (int (index . 2).replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "queuebinding.metadata" (list $root $component dict) | nindent 2 }}
spec:
  minAvailable: 1
  # A replica that cannot become ready must not hold up the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "queuebinding.selector" (list $root $component) | nindent 6 }}
{{- end }}
{{- end }}
