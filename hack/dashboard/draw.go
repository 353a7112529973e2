package main

import (
	"fmt"
	"image/color"
	"os"
	"regexp"
	"strings"
	"time"

	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	promquery "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Sizes, in points of which 96 are an inch of the picture's, that is, pixels.
const (
	width    = 1680
	cell     = 34 // height of a unit of Grafana's grid
	gap      = 4
	headline = 20
)

// Colours of Grafana's dark theme.
var (
	background = color.RGBA{0x11, 0x12, 0x17, 0xff}
	surface    = color.RGBA{0x18, 0x1b, 0x1f, 0xff}
	grid       = color.RGBA{0x2b, 0x2e, 0x35, 0xff}
	bright     = color.RGBA{0xd8, 0xd9, 0xda, 0xff}
	dim        = color.RGBA{0x9a, 0x9d, 0xa4, 0xff}
	named      = map[string]color.RGBA{"green": {0x73, 0xbf, 0x69, 0xff}, "red": {0xf2, 0x49, 0x5c, 0xff}, "blue": {0x57, 0x94, 0xf2, 0xff}}
	palette    = []color.RGBA{
		{0x73, 0xbf, 0x69, 0xff}, {0xf2, 0xcc, 0x0c, 0xff}, {0x57, 0x94, 0xf2, 0xff}, {0xff, 0x98, 0x30, 0xff},
		{0xf2, 0x49, 0x5c, 0xff}, {0xb8, 0x77, 0xd9, 0xff}, {0x8a, 0xb8, 0xff, 0xff}, {0xff, 0xa6, 0xb0, 0xff},
	}
)

// limits are lines that are no measurements, as the panels' override has it.
var limits = regexp.MustCompile(limitNames)

// drawing is how to draw the dashboard without Grafana.
type drawing struct {
	out, prometheus, namespace, name string
	last                             time.Duration
}

func (d drawing) fill(text string) string {
	return strings.NewReplacer("$__rate_interval", "15s", "$namespace", d.namespace, "$name", d.name).Replace(text)
}

// draw writes a picture of every panel, where Grafana has it.
func (d drawing) draw(of board) error {
	rows := uint32(0)
	for _, each := range of.Panels {
		if p := position(each); p.Y+p.H > rows {
			rows = p.Y + p.H
		}
	}
	size := vg.Length(rows)*cell + gap
	image := vgimg.NewWith(vgimg.UseWH(points(width), points(float64(size))), vgimg.UseDPI(96), vgimg.UseBackgroundColor(background))
	whole := draw.New(image)
	source := prometheusSource{url: d.prometheus, end: time.Now(), last: d.last}
	for _, each := range of.Panels {
		place := area(whole, position(each))
		if each.RowPanel != nil {
			write(place, d.fill(*each.RowPanel.Title), 15, bright, 0, place.Max.Y-points(8))
			continue
		}
		if err := d.panel(place, *each.Panel, source); err != nil {
			return fmt.Errorf("panel %s: %w", *each.Panel.Title, err)
		}
	}
	file, err := os.Create(d.out)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := (vgimg.PngCanvas{Canvas: image}).WriteTo(file); err != nil {
		return fmt.Errorf("writing %s: %w", d.out, err)
	}
	return file.Close()
}

func position(p sdk.PanelOrRowPanel) sdk.GridPos {
	if p.RowPanel != nil {
		return *p.RowPanel.GridPos
	}
	return *p.Panel.GridPos
}

// points are pixels as the library measures.
func points(pixels float64) vg.Length { return vg.Length(pixels) * vg.Inch / 96 }

// area is the part of a canvas that a position is of.
func area(whole draw.Canvas, at sdk.GridPos) draw.Canvas {
	column := float64(width-gap) / 24
	left, right := float64(at.X)*column+gap, float64(at.X+at.W)*column
	top := whole.Max.Y - points(float64(at.Y)*cell+gap)
	bottom := whole.Max.Y - points(float64(at.Y+at.H)*cell)
	return draw.Canvas{Canvas: whole.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: points(left), Y: bottom}, Max: vg.Point{X: points(right), Y: top},
	}}
}

func (d drawing) panel(place draw.Canvas, panel sdk.Panel, source prometheusSource) error {
	fillRectangle(place, place.Rectangle, surface)
	write(place, *panel.Title, 12.5, bright, points(8), place.Max.Y-points(7))
	inner := draw.Crop(place, points(8), -points(8), points(6), -points(headline+6))
	var all []series
	for _, target := range panel.Targets {
		query := target.(*promquery.Dataquery)
		expr := d.fill(query.Expr)
		if query.Instant != nil && *query.Instant {
			found, err := source.now(expr)
			if err != nil {
				return err
			}
			all = append(all, column(found))
			continue
		}
		found, err := source.over(expr)
		if err != nil {
			return err
		}
		for _, each := range found {
			each.legend = legend(*query.LegendFormat, each.labels)
			all = append(all, each)
		}
	}
	switch panel.Type {
	case "stat":
		drawNumber(inner, panel, all)
	case "table":
		drawTable(inner, panel, all)
	default:
		return drawLines(inner, unitOf(panel), all)
	}
	return nil
}

func unitOf(panel sdk.Panel) string {
	if panel.FieldConfig == nil || panel.FieldConfig.Defaults.Unit == nil {
		return count
	}
	return *panel.FieldConfig.Defaults.Unit
}

var placeholder = regexp.MustCompile(`{{(\w+)}}`)

func legend(format string, labels map[string]string) string {
	return placeholder.ReplaceAllStringFunc(format, func(text string) string { return labels[text[2:len(text)-2]] })
}

func fillRectangle(c draw.Canvas, r vg.Rectangle, with color.Color) {
	c.FillPolygon(with, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
}

func style(size float64, with color.Color) draw.TextStyle {
	return draw.TextStyle{
		Color: with, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, points(size)),
		Handler: text.Plain{Fonts: font.DefaultCache}, XAlign: draw.XLeft, YAlign: draw.YTop,
	}
}

// write writes a line whose upper left corner lies x from the canvas' left edge.
func write(c draw.Canvas, line string, size float64, with color.Color, x, y vg.Length) {
	c.FillText(style(size, with), vg.Point{X: c.Min.X + x, Y: y}, line)
}
