package main

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"time"

	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// drawLines draws a panel over time, with its legend below.
func drawLines(c draw.Canvas, unit string, all []series) error {
	legendLines := drawLegend(c, all)
	p := plot.New()
	p.BackgroundColor = nil
	top := 0.0
	p.Add(gridLines())
	for i, each := range all {
		var points plotter.XYs
		for _, at := range each.points {
			points = append(points, plotter.XY{X: at.at, Y: at.value})
			top = math.Max(top, at.value)
		}
		if len(points) == 0 {
			continue
		}
		for _, part := range unbroken(points) {
			line, err := plotter.NewLine(part)
			if err != nil {
				return err
			}
			line.Color, line.Width = palette[i%len(palette)], 1.1
			if limits.MatchString(each.legend) {
				line.Dashes = []vg.Length{4, 3}
			}
			p.Add(line)
		}
	}
	p.Y.Min, p.Y.Max = 0, cmp.Or(top*1.08, 1)
	p.X.Tick.Marker, p.Y.Tick.Marker = clock{}, amounts(unit)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Width, axis.Tick.Width, axis.Tick.Length = 0, 0, 2
		label := style(10.5, dim)
		label.XAlign, label.YAlign = axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Tick.Label = label
	}
	p.Draw(draw.Crop(c, 0, 0, points(float64(legendLines)*15+2), 0))
	return nil
}

// unbroken cuts a line where there was nothing for more than a moment.
func unbroken(all plotter.XYs) []plotter.XYs {
	var parts []plotter.XYs
	begin := 0
	for i := 1; i <= len(all); i++ {
		if i == len(all) || all[i].X-all[i-1].X > 5 {
			parts = append(parts, all[begin:i])
			begin = i
		}
	}
	return parts
}

func gridLines() *plotter.Grid {
	lines := plotter.NewGrid()
	lines.Vertical.Color, lines.Horizontal.Color = grid, grid
	lines.Vertical.Width, lines.Horizontal.Width = 0.6, 0.6
	return lines
}

// drawLegend returns how many lines the legend took.
func drawLegend(c draw.Canvas, all []series) int {
	type entry struct {
		text string
		i    int
	}
	var lines [][]entry
	var used vg.Length
	for i, each := range all {
		wide := style(10.5, dim).Width(each.legend) + points(28)
		if len(lines) == 0 || used+wide > c.Max.X-c.Min.X {
			lines, used = append(lines, nil), 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], entry{each.legend, i})
		used += wide
	}
	for l, line := range lines {
		x, y := vg.Length(0), c.Min.Y+points(float64(len(lines)-l)*15-2)
		for _, each := range line {
			mark := vg.Rectangle{Min: vg.Point{X: c.Min.X + x, Y: y - points(7)}, Max: vg.Point{X: c.Min.X + x + points(12), Y: y - points(4)}}
			fillRectangle(c, mark, palette[each.i%len(palette)])
			write(c, each.text, 10.5, dim, x+points(16), y)
			x += style(10.5, dim).Width(each.text) + points(28)
		}
	}
	return len(lines)
}

// drawNumber draws the last value, in the colour of its threshold.
func drawNumber(c draw.Canvas, panel sdk.Panel, all []series) {
	if len(all) == 0 || len(all[0].points) == 0 {
		return
	}
	line := all[0].points
	value := line[len(line)-1].value
	colour := bright
	for _, step := range panel.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || value >= *step.Value {
			colour = named[step.Color]
		}
	}
	spark(c, line, colour)
	big := style(40, colour)
	big.XAlign, big.YAlign = draw.XCenter, draw.YCenter
	c.FillText(big, vg.Point{X: (c.Min.X + c.Max.X) / 2, Y: (c.Min.Y + c.Max.Y) / 2}, amount(count, value))
}

// spark draws the way of a value along the lower edge.
func spark(c draw.Canvas, line []point, with color.RGBA) {
	top := 1.0
	for _, at := range line {
		top = math.Max(top, at.value)
	}
	begin, end := line[0].at, line[len(line)-1].at
	if end == begin {
		return
	}
	x := func(at float64) vg.Length { return c.Min.X + vg.Length((at-begin)/(end-begin))*(c.Max.X-c.Min.X) }
	outline := []vg.Point{{X: c.Min.X, Y: c.Min.Y}}
	for _, at := range line {
		outline = append(outline, vg.Point{X: x(at.at), Y: c.Min.Y + vg.Length(at.value/top)*(c.Max.Y-c.Min.Y)*0.45})
	}
	outline = append(outline, vg.Point{X: c.Max.X, Y: c.Min.Y})
	with.R, with.G, with.B = with.R/4, with.G/4, with.B/4
	c.FillPolygon(with, outline)
}

// drawTable draws a line for each binding.
func drawTable(c draw.Canvas, panel sdk.Panel, columns []series) {
	names := panel.Transformations[1].Options.(map[string]any)["renameByName"].(map[string]string)
	heads := []string{"Namespace", "Binding", "Reason"}
	type key struct{ namespace, name string }
	lines := map[key][]string{}
	var keys []key
	for i, column := range columns {
		head := names["Value #"+ref(i)]
		heads = append(heads, head)
		for _, each := range column.rows {
			k := key{each.labels["namespace"], each.labels["name"]}
			if lines[k] == nil {
				lines[k] = make([]string, len(columns)+3)
				lines[k][0], lines[k][1] = k.namespace, k.name
				keys = append(keys, k)
			}
			if reason := each.labels["reason"]; reason != "" {
				lines[k][2] = reason
			}
			lines[k][i+3] = shown(head, each.value)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	wide := (c.Max.X - c.Min.X) / vg.Length(len(heads))
	for i, head := range heads {
		write(c, head, 11.5, named["blue"], vg.Length(i)*wide, c.Max.Y)
	}
	for l, k := range keys {
		y := c.Max.Y - points(float64(l+1)*24)
		fillRectangle(c, vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y + points(5)}, Max: vg.Point{X: c.Max.X, Y: y + points(5.6)}}, grid)
		for i, text := range lines[k] {
			colour := bright
			switch text {
			case "True":
				colour = named["green"]
			case "False":
				colour = named["red"]
			}
			write(c, text, 11.5, colour, vg.Length(i)*wide, y)
		}
	}
}

func shown(head string, value float64) string {
	switch head {
	case "Ready":
		return map[bool]string{true: "True", false: "False"}[value == 1]
	case "Oldest message":
		return amount(seconds, value)
	default:
		return amount(count, value)
	}
}

// amount is a value with its unit, as short as can be read.
func amount(unit string, value float64) string {
	switch unit {
	case seconds:
		switch {
		case value == 0:
			return "0 s"
		case value < 1:
			return fmt.Sprintf("%.3g ms", value*1000)
		case value < 120:
			return fmt.Sprintf("%.3g s", value)
		default:
			return fmt.Sprintf("%.3g min", value/60)
		}
	case percent:
		return fmt.Sprintf("%.3g%%", value*100)
	case bytes:
		return fmt.Sprintf("%.3g MiB", value/(1<<20))
	case perSec:
		return fmt.Sprintf("%.3g/s", value)
	default:
		return fmt.Sprintf("%.4g", value)
	}
}

// amounts marks a vertical axis.
type amounts string

// Ticks implements plot.Ticker.
func (unit amounts) Ticks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	var kept []plot.Tick
	for _, tick := range ticks {
		if tick.Label != "" {
			kept = append(kept, plot.Tick{Value: tick.Value, Label: amount(string(unit), tick.Value)})
		}
	}
	return kept
}

// clock marks a horizontal axis.
type clock struct{}

// Ticks implements plot.Ticker.
func (clock) Ticks(from, to float64) []plot.Tick {
	step := 15.0
	for (to-from)/step > 6 {
		step *= 2
	}
	var ticks []plot.Tick
	for at := math.Ceil(from/step) * step; at <= to; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: time.Unix(int64(at), 0).Format("15:04:05")})
	}
	return ticks
}
