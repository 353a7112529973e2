# Everything that is done to this repository. `make` alone lists it.
SHELL       := bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

# The image that deploy, build-installer and docker-build speak of.
IMG ?= queuebinding:dev
# A kube context other than the development environment's, by name: what run,
# install, uninstall, deploy and undeploy need before they touch another cluster.
CONTEXT ?=
CONTAINER_TOOL ?= docker
# Where the image of a release is to be had.
REPOSITORY ?= ghcr.io/queuebinding/queuebinding
KUBECTL        ?= kubectl
# More arguments for `go test` and for the operator of `make run`.
TESTFLAGS ?=
ARGS      ?=

# Nothing here needs a C compiler; `make test CGO_ENABLED=1 TESTFLAGS=-race` does.
export CGO_ENABLED ?= 0

# Programs of other projects that the tests run beside ours, as devenvctl calls them.
NEIGHBOURS := karpenter,kueue
OBSERVERS  := prometheus,alertmanager

BIN      := bin
TOOLS    := $(BIN)/tools
DEVENV   := $(BIN)/devenvctl
GUARD    := $(BIN)/guard
RELEASE  := $(BIN)/release
CRD      := config/crd/bases/queuebinding.dev_queuebindings.yaml
MANAGER  := $(BIN)/manager
SERVER   := $(BIN)/queuebinding-apiserver
PLUGIN   := $(BIN)/kubectl-queuebinding
CHART    := charts/queuebinding
# Where packages of it go.
DIST     ?= dist
# What the chart has copies of, below $(CHART)/files.
CHART_FILES := $(CRD) $(wildcard config/rbac/*role*.yaml config/rights/*/role*.yaml config/metrics/*role*.yaml config/apiserver/*role*.yaml) \
  config/policies/job_creators.yaml config/policies/operator.yaml config/tenancy/policy.yaml config/prometheus/monitor.yaml config/prometheus/rules.yaml \
  config/grafana/dashboard.json

# Prefix of every command that touches a cluster: says which, and refuses all but
# the development environment's unless CONTEXT names it.
guarded = $(GUARD) $(if $(CONTEXT),-context '$(CONTEXT)') --

# Waits until bindings can be created. Asking for the CRD's condition Established is
# not enough: `kubectl wait` fails while there are no conditions at all, and the API
# server serves a kind only some moments after it said so.
served := for i in {1..120}; do $(KUBECTL) get queuebindings -A >/dev/null 2>&1 && exit; sleep 0.5; done; \
  echo "The API server did not serve the CRD within a minute" >&2; exit 1

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target> [VARIABLE=value]" } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Try it

.PHONY: demo
demo: build $(DEVENV) $(GUARD) ## Play the whole walk on a cluster and a queue of its own. NODE=real, simulated or auto; AUTOSCALE=0 leaves out nodes that come and go; KEEP=1 leaves all up.
	@go build -o $(BIN)/demo ./hack/demo
	@$(BIN)/demo

.PHONY: devenv-up
devenv-up: $(DEVENV) ## Start a Kubernetes cluster and an SQS emulator on this machine. NODE=real, simulated or auto; FAST=1: etcd without fsync; PARTS=all,karpenter adds that, or keda, prometheus, alertmanager.
	@$(DEVENV) up $(if $(PARTS),--parts='$(PARTS)')

.PHONY: devenv-down
devenv-down: $(DEVENV) ## End what devenv-up started.
	@$(DEVENV) down

.PHONY: devenv-status
devenv-status: $(DEVENV) ## Tell what of the development environment runs.
	@$(DEVENV) status

.PHONY: devenv-shell
devenv-shell: $(DEVENV) ## Open a shell with the development environment's variables.
	@$(DEVENV) shell

.PHONY: devenv-deploy
# The node and the Secret are those of the environment: this leads to no other cluster.
devenv-deploy: build $(DEVENV) ## Install the operator in the development environment, as Pods of its real node.
	@$(DEVENV) pack --name=queuebinding:dev --program=$(MANAGER) --program=$(SERVER) --out=$(BIN)/queuebinding.tar
	@$(DEVENV) deploy $(BIN)/queuebinding.tar

.PHONY: run
run: build $(GUARD) ## Run the operator outside the cluster. ARGS=… adds flags, CONTEXT=… names another cluster.
	@$(guarded) $(MANAGER) --metrics-bind-address=0 --health-probe-bind-address=0 $(ARGS)

.PHONY: run-apiserver
# Not for another cluster: its API server cannot reach this machine.
run-apiserver: build $(GUARD) ## Serve the requeue subresource in the development environment. ARGS=… adds flags.
	@$(GUARD) -- $(SERVER) --health-probe-bind-address=0 --bind-address=127.0.0.1:0 --register-locally $(ARGS)

##@ Build

.PHONY: build
build: ## Build the operator, the server of the requeue subresource and the kubectl plugin: bin/manager, bin/queuebinding-apiserver, bin/kubectl-queuebinding.
	@go build -trimpath -o $(MANAGER) ./cmd
	@go build -trimpath -o $(SERVER) ./cmd/queuebinding-apiserver
	@go build -trimpath -o $(PLUGIN) ./cmd/kubectl-queuebinding
	@install -m 755 cmd/kubectl-queuebinding/kubectl_complete-queuebinding $(BIN)

.PHONY: generate
generate: $(TOOLS)/controller-gen $(TOOLS)/openapi-gen $(TOOLS)/crd-ref-docs $(TOOLS)/helm-docs $(TOOLS)/helm-values-schema-json ## Write what follows from the API types, the plugin's commands, the metrics, the dashboard's panels and the chart's values: Go code, docs, JSON.
	@$(TOOLS)/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	@$(TOOLS)/openapi-gen --go-header-file=hack/boilerplate.go.txt --report-filename=/dev/null \
	  --output-dir=internal/apiserver/openapi --output-pkg=github.com/queuebinding/queuebinding/internal/apiserver/openapi \
	  --output-file=zz_generated.openapi.go --output-model-name-file=zz_generated.model_name.go ./api/subresources/v1alpha1
	@mkdir -p docs
	@$(TOOLS)/crd-ref-docs --log-level=ERROR --source-path=api --config=hack/tools/crd-ref-docs.yaml \
	  --renderer=markdown --output-path=docs/api.md
	@go run ./hack/plugindocs docs/kubectl-queuebinding.md
	@go run -C hack/dashboard . -write=$(CURDIR)/config/grafana/dashboard.json
	@go run ./hack/metricsdocs docs/metrics.md
	@$(TOOLS)/helm-values-schema-json --values=$(CHART)/values.yaml --output=$(CHART)/values.schema.json --no-additional-properties --use-helm-docs --indent=2 >/dev/null
	@$(TOOLS)/helm-docs --log-level=warning --chart-search-root=$(CHART) --sort-values-order=file

.PHONY: manifests
manifests: $(TOOLS)/controller-gen ## Write the CRD from the Go markers, and the chart's copies of manifests.
	@$(TOOLS)/controller-gen crd:generateEmbeddedObjectMeta=true paths=./api/... output:crd:dir=$(dir $(CRD))
	@go run ./hack/crd $(CRD)
	@rm -rf $(CHART)/files
	@for file in $(CHART_FILES); do install -D -m 644 "$$file" "$(CHART)/files/$${file#config/}"; done

.PHONY: docker-build
docker-build: ## Build the image IMG.
	$(CONTAINER_TOOL) build -t $(IMG) \
	  --build-arg VERSION="$$(git describe --tags --always --dirty --match 'v*')" --build-arg COMMIT="$$(git rev-parse HEAD)" \
	  --build-arg DATE="$$(TZ=UTC git show -s --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)" .

.PHONY: pin
pin: $(RELEASE) ## Write into the Dockerfile the digests that the images' registries have today. It changes nothing where one does not answer.
	@$(RELEASE) pin Dockerfile

.PHONY: clean
clean: ## Remove all that was built. Ends the development environment, which lives there too.
	@[ ! -x $(DEVENV) ] || $(DEVENV) down
	rm -rf $(BIN) dist

##@ Check

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the Go code.
	@$(TOOLS)/golangci-lint fmt
	@cd hack/devenv && $(CURDIR)/$(TOOLS)/golangci-lint fmt --config=$(CURDIR)/.golangci.yml
	@cd hack/release && $(CURDIR)/$(TOOLS)/golangci-lint fmt --config=$(CURDIR)/.golangci.yml
	@cd hack/dashboard && $(CURDIR)/$(TOOLS)/golangci-lint fmt --config=$(CURDIR)/.golangci.yml

.PHONY: vet
vet: ## Run go vet.
	@go vet ./...
	@go vet -C hack/devenv ./...
	@go vet -C hack/release ./...
	@go vet -C hack/dashboard ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/actionlint verify ## Run the linters, and verify.
	@echo 'Linting the main module'
	@$(TOOLS)/golangci-lint run
	@echo 'Linting hack/devenv'
	@cd hack/devenv && $(CURDIR)/$(TOOLS)/golangci-lint run --config=$(CURDIR)/.golangci.yml
	@echo 'Linting hack/release'
	@cd hack/release && $(CURDIR)/$(TOOLS)/golangci-lint run --config=$(CURDIR)/.golangci.yml
	@echo 'Linting hack/dashboard'
	@cd hack/dashboard && $(CURDIR)/$(TOOLS)/golangci-lint run --config=$(CURDIR)/.golangci.yml
	@echo 'Linting workflows'
	@$(TOOLS)/actionlint -shellcheck= -pyflakes=

.PHONY: vulncheck
vulncheck: build $(TOOLS)/govulncheck ## Look for known vulnerabilities in what the programs use. Where the database cannot be reached it says so and is content.
	@hack/vulncheck.sh $(TOOLS)/govulncheck $(MANAGER) $(SERVER) $(PLUGIN)

.PHONY: lint-fix
lint-fix: $(TOOLS)/golangci-lint ## Let the linters mend what they can.
	@$(TOOLS)/golangci-lint run --fix
	@cd hack/devenv && $(CURDIR)/$(TOOLS)/golangci-lint run --fix --config=$(CURDIR)/.golangci.yml
	@cd hack/release && $(CURDIR)/$(TOOLS)/golangci-lint run --fix --config=$(CURDIR)/.golangci.yml
	@cd hack/dashboard && $(CURDIR)/$(TOOLS)/golangci-lint run --fix --config=$(CURDIR)/.golangci.yml

.PHONY: verify
verify: $(TOOLS)/controller-gen $(TOOLS)/openapi-gen $(TOOLS)/crd-ref-docs $(TOOLS)/kustomize ## Check generated files, manifests, go.mod files and import rules.
	@hack/verify.sh

.PHONY: lint-aws
lint-aws: ## Lint the templates for AWS. It needs cfn-lint and terraform, which other checks do without.
	@cfn-lint config/aws/cloudformation.yaml
	@terraform fmt -check -diff config/aws/terraform

.PHONY: test
test: build $(DEVENV) $(TOOLS)/kustomize ## Run all tests, those against a real API server and queue included. TESTFLAGS=… goes to go test.
	@$(DEVENV) build --node=simulated --parts=all,$(NEIGHBOURS),$(OBSERVERS)
	@$(DEVENV) build
	@$(DEVENV) node | grep -qx real || echo 'Left out, as no containers can run: test/e2e, test/install, test/chart/e2e, and the tests of a real node in hack/devenv and hack/release'
	@echo 'Testing the main module'
	@go test -timeout=30m $(TESTFLAGS) ./...
	@echo 'Testing hack/devenv'
	@go test -C hack/devenv -timeout=30m $(TESTFLAGS) ./...
	@echo 'Testing hack/release'
	@go test -C hack/release -timeout=30m $(TESTFLAGS) ./...

.PHONY: e2e
e2e: $(DEVENV) ## Test what containers see, the operator as Pods, and installations of it, on a real node. It needs Linux, root and some packages.
	@$(DEVENV) node --node=real
	@$(DEVENV) build --node=real
	@NODE=real go test -count=1 -timeout=30m -v $(TESTFLAGS) ./test/e2e ./test/install

.PHONY: test-chart
test-chart: $(DEVENV) $(TOOLS)/helm $(TOOLS)/kustomize ## Test the Helm chart: against config, and installed, upgraded, rolled back and uninstalled on a real node.
	@$(DEVENV) node --node=real
	@$(DEVENV) build --node=real
	@NODE=real go test -count=1 -timeout=20m -v $(TESTFLAGS) ./test/chart/...

.PHONY: neighbours
neighbours: $(DEVENV) ## Test the operator beside what people run with it: Karpenter, Kueue, a HorizontalPodAutoscaler. Part of test.
	@$(DEVENV) build --node=simulated --parts=all,$(NEIGHBOURS)
	@go test -count=1 -timeout=30m -v $(TESTFLAGS) ./test/neighbours/...

.PHONY: observe
observe: $(DEVENV) ## Have Prometheus and an Alertmanager look at the operator while things break, and see which alerts fire and end. KEEP=1 leaves all up; PICTURE=file.png draws the dashboard.
	@$(DEVENV) build --node=simulated --parts=all,$(OBSERVERS)
	@go run ./test/observe/run $(if $(KEEP),-keep) $(if $(PICTURE),-picture='$(PICTURE)')

.PHONY: upgrade
upgrade: $(DEVENV) ## Take work of all kinds from 0.1.0 to this version and back, in rollouts and with the leader killed, as processes and as Pods.
	@$(DEVENV) build
	@go test -count=1 -timeout=30m -v $(TESTFLAGS) ./test/upgrade -args -whole

.PHONY: crash
crash: ## Kill the operator before and after each of its requests and see that nothing is lost or doubled. EVERY=3 takes every third.
	@go run ./test/crash/run -every=$(or $(EVERY),1)

.PHONY: soak
soak: ## Break everything at once under load, by a plan made of SEED=1, for MINUTES=3, and see that nothing is lost or doubled.
	@go run ./test/soak -seed=$(or $(SEED),1) -minutes=$(or $(MINUTES),3)

.PHONY: bench
bench: ## Measure the operator against a bare client and write bin/bench.json. QUICK=1 takes two minutes, PROFILES=dir writes profiles, ONLY=drain,idle chooses.
	@go build -o $(BIN)/bench ./test/bench
	@$(BIN)/bench $(if $(QUICK),-quick) $(if $(PROFILES),-profiles='$(PROFILES)') $(if $(ONLY),-only='$(ONLY)')

.PHONY: bench-peers
bench-peers: ## Measure the operator beside KEDA's and write bin/bench-peers.json. Builds KEDA once, in minutes. QUICK=1 takes three minutes, ONLY=start,work,kill chooses.
	@go build -o $(BIN)/bench ./test/bench
	@$(BIN)/bench -peers $(if $(QUICK),-quick) $(if $(ONLY),-only='$(ONLY)')

##@ Release

.PHONY: release
release: $(RELEASE) $(TOOLS)/kustomize ## Write a release of the commit into dist/: docs/releasing.md. REPOSITORY=… of the image, BASE=… below it, IMAGE=0 without it, PLATFORMS=os/arch,… not all.
	@rm -rf dist
	@$(RELEASE) build --repository='$(REPOSITORY)' $(if $(BASE),--base='$(BASE)') $(if $(PLATFORMS),--platforms='$(PLATFORMS)') \
	  $(if $(filter 0,$(IMAGE)),--without-image)
	@$(MAKE) --no-print-directory build-installer IMG="$$($(RELEASE) show dist image)"
	@cp $(CRD) dist
	@if [ -d charts/queuebinding ]; then $(MAKE) --no-print-directory chart VERSION="$$($(RELEASE) show dist version)"; fi
	@$(MAKE) --no-print-directory krew
	@$(RELEASE) sign dist

.PHONY: krew
krew: $(RELEASE) ## Write the plugin's manifest for krew, dist/queuebinding.yaml, from the archives that release made.
	@$(RELEASE) krew dist

.PHONY: release-check
release-check: $(TOOLS)/kustomize ## Build a release for all platforms twice, in two places and compiled anew, and compare the bytes. About half an hour.
	@RELEASE_WHOLE=1 go test -C hack/release -count=1 -timeout=90m -v -run TestRelease .

##@ Install

.PHONY: install
install: $(GUARD) ## Apply the CRD, and wait until the API server knows it.
	@$(guarded) bash -ec '$(KUBECTL) apply -k config/crd; $(served)'

.PHONY: uninstall
uninstall: $(GUARD) ## Delete the CRD, and with it every binding and its Jobs.
	@$(guarded) $(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: $(GUARD) build-installer ## Apply the CRD, the rights and the operator with image IMG.
	@$(guarded) $(KUBECTL) apply -f dist/install.yaml

.PHONY: undeploy
undeploy: $(GUARD) build-installer ## Delete what deploy applied: the CRD too, hence every binding and its Jobs.
	@$(guarded) $(KUBECTL) delete --ignore-not-found -f dist/install.yaml

# The image is set in an overlay below bin/, so that no tracked file changes.
.PHONY: build-installer
build-installer: $(TOOLS)/kustomize ## Write dist/install.yaml: all that a cluster needs, with image IMG.
	@mkdir -p dist $(BIN)/overlay
	@printf 'resources:\n- ../../config/default\n' >$(BIN)/overlay/kustomization.yaml
	@cd $(BIN)/overlay && $(CURDIR)/$(TOOLS)/kustomize edit set image controller=$(IMG)
	@$(TOOLS)/kustomize build $(BIN)/overlay >dist/install.yaml
	@echo 'Wrote dist/install.yaml with image $(IMG)'

# The same bytes for the same sources: Helm gives the files the time of the commit.
.PHONY: chart
chart: $(TOOLS)/helm ## Write dist/queuebinding-<version>.tgz, the Helm chart. With VERSION=1.2.3 its image is that version's, in REPOSITORY.
	@rm -rf $(BIN)/chart
	@mkdir -p $(DIST) $(BIN)/chart
	@cp -r $(CHART) $(BIN)/chart
	@$(if $(VERSION),sed -i.before 's|^  repository: queuebinding$$|  repository: $(REPOSITORY)|' $(BIN)/chart/queuebinding/values.yaml)
	@rm -f $(BIN)/chart/queuebinding/values.yaml.before
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) \
	  $(TOOLS)/helm package $(BIN)/chart/queuebinding --destination $(DIST) $(if $(VERSION),--version='$(VERSION)' --app-version='$(VERSION)')

# What the targets above need. Tools are rebuilt when the module that pins them
# changes; our own programs always, which costs nothing where nothing changed.

# $(call tool,<module folder>,<package>,<how long it takes>)
define tool
@echo 'Building $@$(3)'
@go build -C $(1) -trimpath -ldflags='-s -w' -o $(CURDIR)/$@ $(2)
@touch $@
endef

$(TOOLS)/controller-gen: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,sigs.k8s.io/controller-tools/cmd/controller-gen)

$(TOOLS)/crd-ref-docs: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,github.com/elastic/crd-ref-docs)

$(TOOLS)/openapi-gen: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,k8s.io/kube-openapi/cmd/openapi-gen)

$(TOOLS)/kustomize: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,sigs.k8s.io/kustomize/kustomize/v5)

$(TOOLS)/helm: hack/tools/helm/go.mod hack/tools/helm/go.sum
	$(call tool,hack/tools/helm,helm.sh/helm/v4/cmd/helm, (the first time this takes two minutes))

$(TOOLS)/helm-docs: hack/tools/chart/go.mod hack/tools/chart/go.sum
	$(call tool,hack/tools/chart,github.com/norwoodj/helm-docs/cmd/helm-docs)

$(TOOLS)/helm-values-schema-json: hack/tools/chart/go.mod hack/tools/chart/go.sum
	$(call tool,hack/tools/chart,github.com/losisin/helm-values-schema-json/v2)

$(TOOLS)/golangci-lint: hack/tools/golangci-lint/go.mod hack/tools/golangci-lint/go.sum
	$(call tool,hack/tools/golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint, (the first time this takes minutes))

$(TOOLS)/actionlint: hack/tools/release/go.mod hack/tools/release/go.sum
	$(call tool,hack/tools/release,github.com/rhysd/actionlint/cmd/actionlint)

$(TOOLS)/govulncheck: hack/tools/release/go.mod hack/tools/release/go.sum
	$(call tool,hack/tools/release,golang.org/x/vuln/cmd/govulncheck)

.PHONY: $(RELEASE)
$(RELEASE):
	@go build -C hack/release -trimpath -o $(CURDIR)/$@ .

.PHONY: $(DEVENV)
$(DEVENV):
	@go build -C hack/devenv -trimpath -o $(CURDIR)/$@ ./cmd/devenvctl

.PHONY: $(GUARD)
$(GUARD):
	@go build -trimpath -o $@ ./hack/guard
