#!/usr/bin/env bash
# What must hold in every commit and what no linter sees:
#   - generated files are those that the sources generate,
#   - every kustomization builds,
#   - go.mod files are tidy,
#   - the AWS SDK and k8s.io/kubernetes are reached only from where they may be.
# `make verify` runs it, after building the tools it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

module=$(go list -m)
failed=0
fail() {
  printf 'verify: %s\n' "$1" >&2
  failed=1
}

# Compared with what was there before, not with the last commit, so that it says
# the same in a working copy with changes, in a fresh clone and outside Git.
generated() {
  local before after
  before=$(mktemp -d)
  after=$(mktemp -d)
  snapshot "$before"
  make --no-print-directory generate manifests
  snapshot "$after"
  diff -ru "$before" "$after" ||
    fail 'generated files were stale; they are up to date now: commit them'
  rm -rf "$before" "$after"
}

snapshot() {
  local file
  for file in $(find api internal -name 'zz_generated.*') config/crd/bases/* docs/api.md docs/kubectl-queuebinding.md docs/metrics.md config/grafana/dashboard.json $(find charts -type f); do
    [ -f "$file" ] || continue
    mkdir -p "$1/$(dirname "$file")"
    cp "$file" "$1/$file"
  done
}

kustomizations() {
  local dir
  for dir in config/default config/namespaced config/samples config/prometheus config/network-policy hack/devenv/operator hack/devenv/tenancy; do
    bin/tools/kustomize build "$dir" >/dev/null || fail "$dir does not build"
  done
  # With the Prometheus Operator and Grafana's sidecar.
  mkdir -p bin/overlay-observed
  printf 'namespace: queuebinding-system\nnamePrefix: queuebinding-\nresources:\n- ../../config/prometheus\ncomponents:\n- ../../config/grafana\n' >bin/overlay-observed/kustomization.yaml
  bin/tools/kustomize build bin/overlay-observed >/dev/null || fail "config/prometheus with config/grafana does not build"
}

tidy() {
  local dir
  for dir in . hack/devenv hack/release hack/dashboard; do
    go mod tidy -C "$dir" -diff || fail "go.mod or go.sum in $dir is not tidy: run go mod tidy there"
  done
}

# Depguard reads our imports; this follows them through our dependencies too, so
# that nothing brings the SDK in by a side door.
imports() {
  local edges bad
  edges=$(go list -deps -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}' ./internal/... ./api/... ./cmd/...)
  bad=$(awk -v allowed="$module/internal/queue/sqs" '
    $2 ~ /^github\.com\/aws\// && $1 !~ /^github\.com\/aws\// && $1 != allowed' <<<"$edges")
  [ -z "$bad" ] || fail $'the AWS SDK is imported outside internal/queue/sqs:\n'"$bad"
  bad=$(awk '$2 ~ /^k8s\.io\/kubernetes(\/|$)/' <<<"$edges")
  [ -z "$bad" ] || fail $'k8s.io/kubernetes is imported outside hack/devenv:\n'"$bad"
}

echo 'Verifying generated files' && generated
echo 'Verifying kustomizations' && kustomizations
echo 'Verifying go.mod files' && tidy
echo 'Verifying imports' && imports
exit $failed
