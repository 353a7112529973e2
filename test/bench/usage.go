package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is the CPU time of processes, by their program's name. It is empty where the system has no /proc.
type usage map[string]time.Duration

// ticks is in what /proc counts CPU time: hundredths of a second, on all that Go runs on.
const tick = time.Second / 100

// stat is what /proc tells of a process.
type stat struct {
	name   string
	parent int
	cpu    time.Duration
}

// readStat reads what /proc says of a process.
func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	// The name is in parentheses and may hold any character.
	end := strings.LastIndexByte(string(data), ')')
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 13 {
		return stat{}, false
	}
	number := func(i int) int { n, _ := strconv.Atoi(fields[i]); return n }
	_, name, _ := strings.Cut(string(data[:end]), "(")
	return stat{name: name, parent: number(1), cpu: time.Duration(number(11)+number(12)) * tick}, true
}

// usageOfAll is what this process and all below it have used: the cluster, the queue, the operator.
func usageOfAll() usage {
	found := map[int]stat{}
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if p, ok := readStat(pid); ok {
			found[pid] = p
		}
	}
	all := usage{}
	for pid, p := range found {
		for above := pid; above > 1; above = found[above].parent {
			if above == os.Getpid() {
				all[p.name] += p.cpu
				break
			}
		}
	}
	return all
}

func (u usage) since(before usage) usage {
	used := usage{}
	for name, cpu := range u {
		if cpu > before[name] {
			used[name] = cpu - before[name]
		}
	}
	return used
}

func (u usage) total() time.Duration {
	var sum time.Duration
	for _, cpu := range u {
		sum += cpu
	}
	return sum
}

// String tells who used how many cores over a time, the greatest first.
func (u usage) over(elapsed time.Duration) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(u), func(a, b string) int { return cmp.Compare(u[b], u[a]) }) {
		if cores := u[name].Seconds() / elapsed.Seconds(); cores >= 0.005 {
			parts = append(parts, fmt.Sprintf("%s %.2f", name, cores))
		}
	}
	return strings.Join(parts, ", ")
}

// cpu is the operator's CPU time so far.
func (o *operator) cpu() time.Duration {
	p, _ := readStat(o.PID())
	return p.cpu
}

// memory is the operator's resident memory in MiB: now, or at most so far.
func (o *operator) memory(peak bool) float64 {
	key := map[bool]string{false: "VmRSS:", true: "VmHWM:"}[peak]
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.PID())) // 0 where there is no /proc
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, key); ok {
			kilobytes, _ := strconv.ParseFloat(strings.Fields(text)[0], 64)
			return kilobytes / 1024
		}
	}
	return 0
}
