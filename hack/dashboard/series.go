package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"time"
)

// series is one line, or in a table one column: then it has a row for each point.
type series struct {
	labels map[string]string
	legend string
	points []point
	rows   []cellOf
}

type point struct{ at, value float64 }

// cellOf is a value of a column and what it is of.
type cellOf struct {
	labels map[string]string
	value  float64
}

// prometheusSource answers for a stretch of time.
type prometheusSource struct {
	url  string
	end  time.Time
	last time.Duration
}

type answer struct {
	Status, Error string
	Data          struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
			Values [][2]any
		}
	}
}

func (s prometheusSource) ask(path string, parameters url.Values) (answer, error) {
	var a answer
	response, err := http.Get(s.url + path + "?" + parameters.Encode())
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return a, err
	}
	if a.Status != "success" {
		return a, fmt.Errorf("%s: %s", parameters.Get("query"), a.Error)
	}
	return a, nil
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// over returns lines, in the order of their labels.
func (s prometheusSource) over(expr string) ([]series, error) {
	a, err := s.ask("/api/v1/query_range", url.Values{
		"query": {expr}, "start": {unix(s.end.Add(-s.last))}, "end": {unix(s.end)}, "step": {"1"},
	})
	if err != nil {
		return nil, err
	}
	var all []series
	for _, result := range a.Data.Result {
		line := series{labels: result.Metric}
		for _, pair := range result.Values {
			if value, err := number64(pair[1]); err == nil {
				line.points = append(line.points, point{pair[0].(float64), value})
			}
		}
		all = append(all, line)
	}
	sort.Slice(all, func(i, j int) bool { return fmt.Sprint(all[i].labels) < fmt.Sprint(all[j].labels) })
	return all, nil
}

// now returns what there is at the end.
func (s prometheusSource) now(expr string) ([]cellOf, error) {
	a, err := s.ask("/api/v1/query", url.Values{"query": {expr}, "time": {unix(s.end)}})
	if err != nil {
		return nil, err
	}
	var rows []cellOf
	for _, result := range a.Data.Result {
		if value, err := number64(result.Value[1]); err == nil {
			rows = append(rows, cellOf{result.Metric, value})
		}
	}
	return rows, nil
}

func column(rows []cellOf) series { return series{rows: rows} }

// number64 leaves out what cannot be drawn, such as the median of nothing.
func number64(value any) (float64, error) {
	text, _ := value.(string)
	number, err := strconv.ParseFloat(text, 64)
	if err == nil && (number != number || number > 1e300 || number < -1e300) {
		err = fmt.Errorf("%s is no number", text)
	}
	return number, err
}
