# The image of the operator and of the server of the requeue subresource: two static
# programs, no shell, no root, nothing that has to be written to. `make pin` writes
# behind each name the digest that its registry has for it. `make release` makes the
# same image without a container engine.

# Compiled on the builder's own platform, whatever the image is for.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETOS
ARG TARGETARCH
# Which build this is: `make docker-build` says so, as the repository is not here.
ARG VERSION
ARG COMMIT
ARG DATE
WORKDIR /src

# Modules first: they change less often than the code, so the layer is kept.
COPY go.mod go.sum ./
RUN go mod download

COPY api api
COPY cmd cmd
COPY internal internal
RUN for program in manager=./cmd queuebinding-apiserver=./cmd/queuebinding-apiserver; do \
      CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
      -ldflags="-s -w -X github.com/queuebinding/queuebinding/internal/version.version=${VERSION} -X github.com/queuebinding/queuebinding/internal/version.commit=${COMMIT} -X github.com/queuebinding/queuebinding/internal/version.date=${DATE}" \
      -o /out/${program%%=*} ${program#*=} || exit 1; \
    done

FROM gcr.io/distroless/static-debian13:nonroot
COPY --from=build /out/manager /out/queuebinding-apiserver /
# By number, so that the kubelet can check runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/manager"]
