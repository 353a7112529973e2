// Package devenv runs a Kubernetes cluster and an SQS queue as plain processes of one user on loopback ports, without
// containers and without downloads of binaries.
//
// One supervisor process ([Run]) starts the parts as its children, waits until each answers, writes what a client needs
// to know, and ends exactly those children again. Everything that it knows is in one directory, so that several
// environments run side by side. Each process is recorded by its id and its start time: a process that merely got the
// same id is never signalled.
//
// The programs come from Go modules and one npm package and are built on first use ([Build]).
package devenv
