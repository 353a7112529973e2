// Package machine is what a node with real containers takes of the machine that it runs on: a network device with
// addresses, directories, control groups and some settings of the kernel. All of it is named after one [Claim], so that
// several nodes run side by side and everything can be given back after a crash too, by whoever comes next.
//
// It never touches what bears another name: not the directories, networks, control groups or namespaces of a container
// engine that is there already.
package machine
