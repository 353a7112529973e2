# The image of the operator and of the server of the requeue subresource: two static
# programs, no shell, no root.
FROM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src

# Modules first: they change less often than the code, so the layer is kept.
COPY go.mod go.sum ./
RUN go mod download

COPY api api
COPY cmd cmd
COPY internal internal
# Empty build arguments mean the builder's own platform.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags='-s -w' -o /manager ./cmd && \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags='-s -w' -o /queuebinding-apiserver ./cmd/queuebinding-apiserver

FROM gcr.io/distroless/static:nonroot
COPY --from=build /manager /queuebinding-apiserver /
# By number, so that the kubelet can check runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/manager"]
