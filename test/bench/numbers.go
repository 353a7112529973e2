package main

import (
	"slices"
	"time"
)

// median is the middle one, or between the two that are.
func median(numbers []float64) float64 {
	n := len(numbers)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile is the smallest number that a share of them does not exceed.
func quantile(numbers []float64, share float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratios are what each number is of the other one of its turn.
func ratios(numbers, of []float64) []float64 {
	all := make([]float64, len(numbers))
	for i := range numbers {
		all[i] = numbers[i] / of[i]
	}
	return all
}
